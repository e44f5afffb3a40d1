// AdderConv2d and AdderConv2dAdd (plugins/operators.toml) for ONNX Runtime: the node on any device, and its
// kernel on the CPU.
#pragma once

#include "kernels/cpu/adder_conv2d.h"
#include "onnxruntime/adapter.h"
#include "onnxruntime/constants.h"
#include "onnxruntime/plan_cache.h"
#include "onnxruntime/registration.h"
#include "onnxruntime/spreading.h"
#include "operators.h"

namespace adroit::onnxruntime {

// x, w: the shapes of X and W, which `shape` was made from.
inline void require_adder_shape(const adroit::AdderConv2dShape& shape, const Shape& x, const Shape& w) {
    for (const auto* sizes : {&x, &w})
        for (int64_t size : *sizes)
            if (size < 1) throw InvalidInput("empty input: X is " + shape_text(x) + ", W is " + shape_text(w));
    if (x[1] != w[1])
        throw InvalidInput("X has " + std::to_string(x[1]) + " channels, W expects " + std::to_string(w[1]));
    if (shape.height + shape.pad_top + shape.pad_bottom < w[2] || shape.width + shape.pad_left + shape.pad_right < w[3])
        throw InvalidInput("X (" + shape_text(x) + ") with its padding is smaller than the kernel (" + shape_text(w) +
                           ")");
}

template <bool HasResidual>
class AdderConv2dNode {
public:
    static constexpr const adroit::description::Operator& description =
        HasResidual ? adroit::description::kAdderConv2dAdd : adroit::description::kAdderConv2d;
    static ONNXTensorElementDataType input_type(size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
    static ONNXTensorElementDataType output_type(size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }

    explicit AdderConv2dNode(const Ort::ConstKernelInfo& info)
        : strides_(ints_attribute(info, description, "strides")),
          pads_(ints_attribute(info, description, "pads")),
          relu_(int_attribute(info, description, "activation") == 1) {}

protected:
    // A call's tensors, checked; the pointers are the device's.
    struct Call {
        adroit::AdderConv2dShape shape;
        const float *x, *w, *scale, *shift, *residual;  // residual: null where there is none
        float* y;
        bool relu;
    };

    Call read(const Ort::KernelContext& context) const {
        const FloatInput x = float_input(context, 0, "X", 4), w = constants_.read<float>(context, 1, "W", 4);
        const adroit::AdderConv2dShape shape = checked_shape(x, w);
        const Shape out{shape.batch, shape.out_channels, shape.out_height(), shape.out_width()};
        const FloatInput scale = constants_.read<float>(context, 2, "scale", 1);
        const FloatInput shift = constants_.read<float>(context, 3, "shift", 1);
        require_shape(scale, "scale", {shape.out_channels});
        require_shape(shift, "shift", {shape.out_channels});
        const float* residual = nullptr;
        if constexpr (HasResidual) {
            const FloatInput input = float_input(context, 4, "residual", 4);
            require_shape(input, "residual", out);
            residual = input.data;
        }
        float* y = tensor_output<float>(context, 0, out);
        return {shape, x.data, w.data, scale.data, shift.data, residual, y, relu_};
    }

    Constants constants_;

private:
    adroit::AdderConv2dShape checked_shape(const FloatInput& x, const FloatInput& w) const {
        const adroit::AdderConv2dShape shape{x.shape[0], x.shape[1], x.shape[2],  x.shape[3],  w.shape[0],
                                             w.shape[2], w.shape[3], strides_[0], strides_[1], pads_[0],
                                             pads_[1],   pads_[2],   pads_[3]};
        require_adder_shape(shape, x.shape, w.shape);
        return shape;
    }

    std::vector<int64_t> strides_, pads_;
    bool relu_;
};

template <bool HasResidual>
class AdderConv2d : public AdderConv2dNode<HasResidual> {
public:
    static constexpr const char* provider = kOnCpu;

    explicit AdderConv2d(const Ort::ConstKernelInfo& info) : AdderConv2dNode<HasResidual>(info) {
        for (size_t index : {2, 3}) this->constants_.template keep<float>(info, index);
        // W that is computed in the graph is packed at every call.
        has_packed_ = this->constants_.template use<float>(info, 1, 4, [&](const float* w, const Shape& shape) {
            packed_ = cpu::pack_adder_weights(w, shape[0], shape[1] * shape[2] * shape[3]);
        });
    }

    void compute(const Ort::KernelContext& context) const {
        const auto call = this->read(context);
        const cpu::AdderConv2dEpilogue epilogue{call.scale, call.shift, call.residual, call.relu};
        const auto plan = plans_.find(call.shape, cpu::plan_adder_conv2d);
        const auto run = [&](const cpu::PackedAdderWeights& weights) {
            cpu::adder_conv2d(*plan, call.x, weights, epilogue, call.y, spreading_.threads(context));
        };
        if (has_packed_) return run(packed_);
        run(cpu::pack_adder_weights(call.w, call.shape.out_channels, call.shape.taps()));
    }

private:
    mutable Spreading spreading_;
    mutable PlanCache<cpu::AdderConv2dPlan> plans_;
    bool has_packed_ = false;
    cpu::PackedAdderWeights packed_;
};

inline void add_adder_conv2d(Ort::CustomOpDomain& domain) {
    add<AdderConv2d<false>>(domain);
    add<AdderConv2d<true>>(domain);
}

}  // namespace adroit::onnxruntime
