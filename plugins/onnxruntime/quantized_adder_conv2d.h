// QAdderConv2d and QAdderConv2dAdd (plugins/operators.toml) for ONNX Runtime: the node on any device, and its
// kernel on the CPU.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include "kernels/cpu/quantized_adder_conv2d.h"
#include "onnxruntime/adapter.h"
#include "onnxruntime/adder_conv2d.h"
#include "onnxruntime/constants.h"
#include "onnxruntime/plan_cache.h"
#include "onnxruntime/registration.h"
#include "onnxruntime/spreading.h"
#include "operators.h"

namespace adroit::onnxruntime {

// One registration per type of X (uint8_t, int8_t) and of Y (the same, or float).
template <bool HasResidual, typename Integer, typename Output>
class QAdderConv2dNode {
public:
    static constexpr const adroit::description::Operator& description =
        HasResidual ? adroit::description::kQAdderConv2dAdd : adroit::description::kQAdderConv2d;
    static constexpr bool kSigned = std::is_signed_v<Integer>, kQuantized = !std::is_same_v<Output, float>;
    static ONNXTensorElementDataType input_type(size_t index) {
        return index == 2 || index == 3 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : Ort::TypeToTensorType<Integer>::type;
    }
    static ONNXTensorElementDataType output_type(size_t) { return Ort::TypeToTensorType<Output>::type; }

    // Y's type is an attribute, and ONNX Runtime distinguishes registrations by the types of inputs only.
    static void infer_output(Ort::ShapeInferContext& context, OrtShapeInferContext* raw) {
        const auto &x = context.GetInputShape(0), &w = context.GetInputShape(1);
        const auto strides = context.GetAttrInts("strides"), pads = context.GetAttrInts("pads");
        std::vector<int64_t> shape(4, -1);
        if (x.size() == 4 && w.size() == 4 && strides.size() == 2 && pads.size() == 4) {
            if (is_known(x[0])) shape[0] = x[0].AsInt();
            if (is_known(w[0])) shape[1] = w[0].AsInt();
            for (size_t i = 2; i < 4; ++i) {
                const int64_t padding = pads[i - 2] + pads[i];
                if (is_known(x[i]) && is_known(w[i]) && strides[i - 2] > 0 && x[i].AsInt() + padding >= w[i].AsInt())
                    shape[i] = (x[i].AsInt() + padding - w[i].AsInt()) / strides[i - 2] + 1;
            }
        }
        const adroit::description::Attribute& described = adroit::description::attribute_of(description, "output_type");
        const int64_t type = checked(described, "is", context.GetAttrInt("output_type"));
        set_output(raw, 0, shape, static_cast<ONNXTensorElementDataType>(type));
    }

    explicit QAdderConv2dNode(const Ort::ConstKernelInfo& info)
        : strides_(ints_attribute(info, description, "strides")),
          pads_(ints_attribute(info, description, "pads")),
          relu_(int_attribute(info, description, "activation") == 1),
          x_zero_point_(zero_point_attribute(info, "x_zero_point")),
          output_scale_(float_attribute(info, description, "output_scale")),
          output_zero_point_(zero_point_attribute(info, "output_zero_point")) {
        const int64_t type = int_attribute(info, description, "output_type");
        if (type != Ort::TypeToTensorType<Output>::type)
            throw InvalidInput("attribute output_type is " + std::to_string(type) + ", but Y has type " +
                               std::to_string(Ort::TypeToTensorType<Output>::type));
        if constexpr (HasResidual) {
            residual_scale_ = float_attribute(info, description, "residual_scale");
            residual_zero_point_ = zero_point_attribute(info, "residual_zero_point");
        }
    }

protected:
    // A call's tensors, checked; the pointers are the device's.
    struct Call {
        adroit::AdderConv2dShape shape;
        const Integer *x, *w;
        const float *scale, *shift;
        const Integer* residual;  // null where there is none
        void* y;
    };

    Call read(const Ort::KernelContext& context) const {
        const auto x = tensor_input<Integer>(context, 0, "X", 4), w = constants_.read<Integer>(context, 1, "W", 4);
        const adroit::AdderConv2dShape shape = checked_shape(x, w);
        const Shape out{shape.batch, shape.out_channels, shape.out_height(), shape.out_width()};
        const FloatInput scale = constants_.read<float>(context, 2, "scale", 1);
        const FloatInput shift = constants_.read<float>(context, 3, "shift", 1);
        require_shape(scale, "scale", {shape.out_channels});
        require_shape(shift, "shift", {shape.out_channels});
        const Integer* given = nullptr;
        if constexpr (HasResidual) {
            const auto residual = tensor_input<Integer>(context, 4, "residual", 4);
            require_shape(residual, "residual", out);
            given = residual.data;
        }
        void* y = tensor_output<Output>(context, 0, out);
        return {shape, x.data, w.data, scale.data, shift.data, given, y};
    }

    static bool has_taps(const Shape& w) {
        return *std::min_element(w.begin(), w.end()) > 0 && w[1] * w[2] * w[3] <= cpu::kMaxQuantizedTaps;
    }

    adroit::AdderConv2dShape geometry(const Shape& x, const Shape& w) const {
        return {x[0],        x[1],        x[2],     x[3],     w[0],     w[2],    w[3],
                strides_[0], strides_[1], pads_[0], pads_[1], pads_[2], pads_[3]};
    }

    std::vector<int64_t> strides_, pads_;
    bool relu_;
    int32_t x_zero_point_;
    float output_scale_;
    int32_t output_zero_point_;
    float residual_scale_ = 1.0f;
    int32_t residual_zero_point_ = 0;
    Constants constants_;

private:
    static bool is_known(const Ort::ShapeInferContext::SymbolicInteger& size) {
        return size.IsInt() && size.AsInt() > 0;
    }

    // A value of X's type.
    static int32_t zero_point_attribute(const Ort::ConstKernelInfo& info, const char* name) {
        using Limits = std::numeric_limits<Integer>;
        const int64_t value = int_attribute(info, description, name);
        if (value < Limits::min() || value > Limits::max())
            throw InvalidInput(std::string("attribute ") + name + " is " + std::to_string(value) + ", expected " +
                               std::to_string(Limits::min()) + " to " + std::to_string(Limits::max()));
        return static_cast<int32_t>(value);
    }

    adroit::AdderConv2dShape checked_shape(const TensorInput<Integer>& x, const TensorInput<Integer>& w) const {
        const adroit::AdderConv2dShape shape = geometry(x.shape, w.shape);
        require_adder_shape(shape, x.shape, w.shape);
        if (!has_taps(w.shape))
            throw InvalidInput("W is " + shape_text(w.shape) + ": " + std::to_string(shape.taps()) +
                               " taps a filter, at most " + std::to_string(cpu::kMaxQuantizedTaps) + " are exact");
        return shape;
    }
};

template <bool HasResidual, typename Integer, typename Output>
class QAdderConv2d : public QAdderConv2dNode<HasResidual, Integer, Output> {
    using Node = QAdderConv2dNode<HasResidual, Integer, Output>;

public:
    static constexpr const char* provider = kOnCpu;

    explicit QAdderConv2d(const Ort::ConstKernelInfo& info) : Node(info) {
        for (size_t index : {2, 3}) this->constants_.template keep<float>(info, index);
        // W that is computed in the graph is packed at every call.
        has_packed_ = this->constants_.template use<Integer>(info, 1, 4, [&](const Integer* w, const Shape& shape) {
            if (this->has_taps(shape))  // else the first call says so
                packed_ = cpu::pack_quantized_weights(this->geometry({1, shape[1], shape[2], shape[3]}, shape), w,
                                                      Node::kSigned);
        });
    }

    void compute(const Ort::KernelContext& context) const {
        const auto call = this->read(context);
        const cpu::QuantizedAdderEpilogue epilogue{
            call.scale,  call.shift,       call.residual,       this->residual_scale_,   this->residual_zero_point_,
            this->relu_, Node::kQuantized, this->output_scale_, this->output_zero_point_};
        const cpu::QuantizedTensor input{call.x, Node::kSigned, this->x_zero_point_};
        const auto run = [&](const cpu::PackedQuantizedWeights& weights) {
            const auto plan = plans_.find(call.shape, [&](const adroit::AdderConv2dShape& shape) {
                return cpu::plan_quantized_adder_conv2d(shape, weights.windows);
            });
            cpu::quantized_adder_conv2d(*plan, input, weights, epilogue, call.y, spreading_.threads(context));
        };
        if (has_packed_) return run(packed_);
        run(cpu::pack_quantized_weights(call.shape, call.w, Node::kSigned));
    }

private:
    mutable Spreading spreading_;
    mutable PlanCache<cpu::QuantizedAdderPlan> plans_;
    bool has_packed_ = false;
    cpu::PackedQuantizedWeights packed_;
};

inline void add_quantized_adder_conv2d(Ort::CustomOpDomain& domain) { add_quantized<AsIs, QAdderConv2d>(domain); }

}  // namespace adroit::onnxruntime
