// What every operator's adapter shares: attributes, tensors, errors. An adapter turns an
// ONNX Runtime call into a kernel call and holds no arithmetic.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "description.h"

namespace adroit::onnxruntime {

// Raised for a model or an input that the operator cannot take; becomes ONNX Runtime's error text.
struct InvalidInput : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// ONNX Runtime calls us through C: no exception may pass. (ComputeV2 and CreateKernelV2 must give
// back the raw status; returning Ort::Status compiles and frees it twice.)
template <typename Body>
OrtStatusPtr guarded(const char* op, const Body& body) noexcept {
    try {
        body();
        return nullptr;
    } catch (const Ort::Exception& e) {
        return Ort::GetApi().CreateStatus(e.GetOrtErrorCode(), (std::string(op) + ": " + e.what()).c_str());
    } catch (const InvalidInput& e) {
        return Ort::GetApi().CreateStatus(ORT_INVALID_ARGUMENT, (std::string(op) + ": " + e.what()).c_str());
    } catch (const std::exception& e) {
        return Ort::GetApi().CreateStatus(ORT_FAIL, (std::string(op) + ": " + e.what()).c_str());
    }
}

// A tensor's shape without memory of its own to allocate, which small nodes would notice at every call.
class Shape {
public:
    static constexpr size_t kMaxRank = 4;
    Shape() = default;
    Shape(std::initializer_list<int64_t> sizes) : rank_(sizes.size()) { std::copy(sizes.begin(), sizes.end(), sizes_); }
    Shape(const int64_t* sizes, size_t rank) : rank_(rank) { std::copy_n(sizes, rank, sizes_); }

    const int64_t* begin() const { return sizes_; }
    const int64_t* end() const { return sizes_ + rank_; }
    size_t size() const { return rank_; }
    int64_t operator[](size_t i) const { return sizes_[i]; }
    bool operator!=(const Shape& other) const { return !std::equal(begin(), end(), other.begin(), other.end()); }

private:
    int64_t sizes_[kMaxRank] = {};
    size_t rank_ = 0;
};

template <typename Sizes>
std::string shape_text(const Sizes& shape) {
    std::ostringstream text;
    const char* separator = "";
    for (int64_t size : shape) {
        text << separator << size;
        separator = "x";
    }
    return text.str();
}

template <typename Element>
struct TensorInput {
    const Element* data;
    Shape shape;
};
using FloatInput = TensorInput<float>;

inline Shape shape_of(const Ort::ConstValue& value, const char* name, size_t rank) {
    const std::vector<int64_t> shape = value.GetTensorTypeAndShapeInfo().GetShape();
    if (shape.size() != rank)
        throw InvalidInput(std::string(name) + " has shape " + shape_text(shape) + ", expected " +
                           std::to_string(rank) + " dimensions");
    return {shape.data(), rank};
}

template <typename Element>
TensorInput<Element> tensor_input(const Ort::KernelContext& context, size_t index, const char* name, size_t rank) {
    const Ort::ConstValue value = context.GetInput(index);
    return {value.GetTensorData<Element>(), shape_of(value, name, rank)};
}

inline FloatInput float_input(const Ort::KernelContext& context, size_t index, const char* name, size_t rank) {
    return tensor_input<float>(context, index, name, rank);
}

template <typename Element>
Element* tensor_output(const Ort::KernelContext& context, size_t index, const Shape& shape) {
    return context.GetOutput(index, shape.begin(), shape.size()).template GetTensorMutableData<Element>();
}

template <typename Element>
void require_shape(const TensorInput<Element>& input, const char* name, const Shape& expected) {
    if (input.shape != expected)
        throw InvalidInput(std::string(name) + " has shape " + shape_text(input.shape) + ", expected " +
                           shape_text(expected));
}

// ---- attributes: each has the range that operators.toml gives it ----

template <typename Number>
Number checked(const description::Attribute& attribute, const char* verb, Number value) {
    if (!description::allows(attribute, value))
        throw InvalidInput(std::string("attribute ") + attribute.name + " " + verb + " " +
                           description::number_text(value) + ", expected " + description::allowed_text(attribute));
    return value;
}

inline int64_t int_attribute(const Ort::ConstKernelInfo& info, const description::Operator& op, const char* name) {
    return checked(description::attribute_of(op, name), "is", info.GetAttribute<int64_t>(name));
}

inline float float_attribute(const Ort::ConstKernelInfo& info, const description::Operator& op, const char* name) {
    return checked(description::attribute_of(op, name), "is", info.GetAttribute<float>(name));
}

inline std::vector<int64_t> ints_attribute(const Ort::ConstKernelInfo& info, const description::Operator& op,
                                           const char* name) {
    const description::Attribute& attribute = description::attribute_of(op, name);
    const std::vector<int64_t> values = info.GetAttributes<int64_t>(name);
    if (values.size() != static_cast<size_t>(attribute.length))
        throw InvalidInput(std::string("attribute ") + name + " has " + std::to_string(values.size()) +
                           " values, expected " + std::to_string(attribute.length));
    for (int64_t value : values) checked(attribute, "holds", value);
    return values;
}

// Sets the type and shape of an output while a model loads. A size below 0 is not known.
// (Ort::ShapeInferContext::SetOutputShape marks names by -2, which newer runtimes refuse.)
inline void set_output(OrtShapeInferContext* context, size_t index, const std::vector<int64_t>& shape,
                       ONNXTensorElementDataType type) {
    // An unknown size needs a name of its own: sizes of one name count as equal.
    static std::atomic<int64_t> unknown{0};
    std::vector<std::string> names;
    std::vector<const char*> pointers;
    for (int64_t size : shape) names.push_back(size < 0 ? "adroit_size_" + std::to_string(unknown++) : "");
    for (const std::string& name : names) pointers.push_back(name.c_str());
    const OrtApi& api = Ort::GetApi();
    OrtTensorTypeAndShapeInfo* info = nullptr;
    Ort::ThrowOnError(api.CreateTensorTypeAndShapeInfo(&info));
    const std::unique_ptr<OrtTensorTypeAndShapeInfo, decltype(api.ReleaseTensorTypeAndShapeInfo)> owner(
        info, api.ReleaseTensorTypeAndShapeInfo);
    Ort::ThrowOnError(api.SetTensorElementType(info, type));
    Ort::ThrowOnError(api.SetDimensions(info, shape.data(), shape.size()));
    Ort::ThrowOnError(api.SetSymbolicDimensions(info, pointers.data(), pointers.size()));
    Ort::ThrowOnError(api.ShapeInferContext_SetOutputTypeShape(context, index, info));
}

// The execution providers that we have kernels for.
constexpr const char *kOnCpu = "CPUExecutionProvider", *kOnCuda = "CUDAExecutionProvider";

// The boilerplate of a custom operator. `Operator` has: a constructor from ConstKernelInfo, compute(context),
// input_type(index), output_type(index), the constants `description` (from operators.h) and `provider`, and
// infer_output(context, raw context) where the type of its output does not follow from those of its inputs. The same
// file has `add_<file>(domain)`, which the generated onnxruntime_operators.h calls.
template <typename Operator>
struct Instance {
    Operator op;
    OrtStatusPtr ComputeV2(OrtKernelContext* context) noexcept {
        return guarded(Operator::description.name, [&] { op.compute(Ort::KernelContext(context)); });
    }
};

template <typename Operator, typename = void>
constexpr bool kInfersOutput = false;
template <typename Operator>
constexpr bool kInfersOutput<Operator, std::void_t<decltype(&Operator::infer_output)>> = true;

template <typename Operator>
struct CustomOperator : Ort::CustomOpBase<CustomOperator<Operator>, Instance<Operator>, true> {
    CustomOperator() {
        if constexpr (kInfersOutput<Operator>)
            this->InferOutputShapeFn = [](const OrtCustomOp*, OrtShapeInferContext* context) noexcept -> OrtStatusPtr {
                return guarded(Operator::description.name, [&] {
                    Ort::ShapeInferContext wrapped(&Ort::GetApi(), context);
                    Operator::infer_output(wrapped, context);
                });
            };
    }
    OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** instance) const noexcept {
        return guarded(Operator::description.name,
                       [&] { *instance = new Instance<Operator>{Operator(Ort::ConstKernelInfo(info))}; });
    }
    const char* GetName() const { return Operator::description.name; }
    const char* GetExecutionProviderType() const { return Operator::provider; }
    size_t GetInputTypeCount() const { return static_cast<size_t>(Operator::description.inputs.size); }
    ONNXTensorElementDataType GetInputType(size_t index) const { return Operator::input_type(index); }
    size_t GetOutputTypeCount() const { return static_cast<size_t>(Operator::description.outputs.size); }
    ONNXTensorElementDataType GetOutputType(size_t index) const { return Operator::output_type(index); }
};

}  // namespace adroit::onnxruntime
