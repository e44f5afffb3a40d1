// What every operator's adapter shares: attributes, tensors, errors, threads. An adapter turns an
// ONNX Runtime call into a kernel call and holds no arithmetic.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cpu/parallel.h"

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

inline std::string shape_text(const std::vector<int64_t>& shape) {
    std::ostringstream text;
    for (size_t i = 0; i < shape.size(); ++i) text << (i ? "x" : "") << shape[i];
    return text.str();
}

struct FloatInput {
    const float* data;
    std::vector<int64_t> shape;
};

inline FloatInput float_input(const Ort::KernelContext& context, size_t index, const char* name, size_t rank) {
    const Ort::ConstValue value = context.GetInput(index);
    FloatInput input{value.GetTensorData<float>(), value.GetTensorTypeAndShapeInfo().GetShape()};
    if (input.shape.size() != rank)
        throw InvalidInput(std::string(name) + " has shape " + shape_text(input.shape) + ", expected " +
                           std::to_string(rank) + " dimensions");
    return input;
}

inline void require_shape(const FloatInput& input, const char* name, const std::vector<int64_t>& expected) {
    if (input.shape != expected)
        throw InvalidInput(std::string(name) + " has shape " + shape_text(input.shape) + ", expected " +
                           shape_text(expected));
}

inline int64_t int_attribute(const Ort::ConstKernelInfo& info, const char* name, int64_t low, int64_t high) {
    const int64_t value = info.GetAttribute<int64_t>(name);
    if (value < low || value > high)
        throw InvalidInput(std::string("attribute ") + name + " is " + std::to_string(value) + ", expected " +
                           std::to_string(low) + " to " + std::to_string(high));
    return value;
}

inline std::vector<int64_t> ints_attribute(const Ort::ConstKernelInfo& info, const char* name, size_t length,
                                           int64_t low, int64_t high) {
    const std::vector<int64_t> values = info.GetAttributes<int64_t>(name);
    if (values.size() != length)
        throw InvalidInput(std::string("attribute ") + name + " has " + std::to_string(values.size()) +
                           " values, expected " + std::to_string(length));
    for (int64_t value : values)
        if (value < low || value > high)
            throw InvalidInput(std::string("attribute ") + name + " holds " + std::to_string(value) + ", expected " +
                               std::to_string(low) + " to " + std::to_string(high));
    return values;
}

// The session's own threads.
inline cpu::ParallelFor session_threads(const Ort::KernelContext& context) {
    return [&context](int64_t count, const cpu::Task& task) {
        if (count == 1) return task(0);
        context.ParallelFor([](void* data, size_t index) { (*static_cast<const cpu::Task*>(data))(index); },
                            static_cast<size_t>(count), 0, const_cast<cpu::Task*>(&task));
    };
}

// The boilerplate of a CPU operator with float32 inputs. `Operator` has: a constructor from
// ConstKernelInfo, compute(context), output_type(index), and the constants name, inputs, outputs.
template <typename Operator>
struct CpuInstance {
    Operator op;
    OrtStatusPtr ComputeV2(OrtKernelContext* context) noexcept {
        return guarded(Operator::name, [&] { op.compute(Ort::KernelContext(context)); });
    }
};

template <typename Operator>
struct CpuOperator : Ort::CustomOpBase<CpuOperator<Operator>, CpuInstance<Operator>, true> {
    OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** instance) const noexcept {
        return guarded(Operator::name,
                       [&] { *instance = new CpuInstance<Operator>{Operator(Ort::ConstKernelInfo(info))}; });
    }
    const char* GetName() const { return Operator::name; }
    const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
    size_t GetInputTypeCount() const { return Operator::inputs; }
    ONNXTensorElementDataType GetInputType(size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
    size_t GetOutputTypeCount() const { return Operator::outputs; }
    ONNXTensorElementDataType GetOutputType(size_t index) const { return Operator::output_type(index); }
};

}  // namespace adroit::onnxruntime
