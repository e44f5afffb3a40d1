// RoutingGate (plugins/operators.toml) for ONNX Runtime: the node on any device, and its kernel on the CPU.
#pragma once

#include "kernels/cpu/routing_gate.h"
#include "onnxruntime/adapter.h"
#include "onnxruntime/constants.h"
#include "onnxruntime/plan_cache.h"
#include "onnxruntime/registration.h"
#include "onnxruntime/spreading.h"
#include "operators.h"

namespace adroit::onnxruntime {

class RoutingGateNode {
public:
    static constexpr const adroit::description::Operator& description = adroit::description::kRoutingGate;
    static ONNXTensorElementDataType input_type(size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
    static ONNXTensorElementDataType output_type(size_t index) {
        return index == 0 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
    }

    explicit RoutingGateNode(const Ort::ConstKernelInfo& info) : shrink_(int_attribute(info, description, "shrink")) {}

protected:
    // A call's tensors, checked; the pointers are the device's.
    struct Call {
        adroit::RoutingGateShape shape;
        const float *x, *w1, *b1, *w2, *b2, *threshold;
        bool threshold_per_sample;
        float* gates;
        bool* open;
    };

    Call read(const Ort::KernelContext& context) const {
        const FloatInput x = float_input(context, 0, "X", 4), w1 = constants_.read<float>(context, 1, "W1", 2);
        const auto b1 = constants_.read<float>(context, 2, "b1", 1), w2 = constants_.read<float>(context, 3, "W2", 2);
        const auto b2 = constants_.read<float>(context, 4, "b2", 1);
        const auto threshold = constants_.read<float>(context, 5, "threshold", 1);
        const adroit::RoutingGateShape shape = checked_shape(x, w1, w2);
        require_shape(b1, "b1", {shape.hidden});
        require_shape(b2, "b2", {shape.paths});
        if (threshold.shape[0] != 1) require_shape(threshold, "threshold", {shape.batch});
        float* gates = tensor_output<float>(context, 0, {shape.batch, shape.paths});
        bool* open = tensor_output<bool>(context, 1, {shape.paths});
        return {shape, x.data, w1.data, b1.data, w2.data, b2.data, threshold.data, threshold.shape[0] != 1,
                gates, open};
    }

    Constants constants_;

private:
    adroit::RoutingGateShape checked_shape(const FloatInput& x, const FloatInput& w1, const FloatInput& w2) const {
        for (const FloatInput* input : {&x, &w1, &w2})
            for (int64_t size : input->shape)
                if (size < 1)
                    throw InvalidInput("empty input: X is " + shape_text(x.shape) + ", W1 is " + shape_text(w1.shape) +
                                       ", W2 is " + shape_text(w2.shape));
        if (x.shape[1] != w1.shape[1])
            throw InvalidInput("X has " + std::to_string(x.shape[1]) + " channels, W1 expects " +
                               std::to_string(w1.shape[1]));
        if (w1.shape[0] != w2.shape[1])
            throw InvalidInput("W1 gives " + std::to_string(w1.shape[0]) + " hidden channels, W2 expects " +
                               std::to_string(w2.shape[1]));
        if (x.shape[2] < shrink_ || x.shape[3] < shrink_)
            throw InvalidInput("X (" + shape_text(x.shape) + ") is smaller than the shrink of " +
                               std::to_string(shrink_) + "; a small gate needs at least 4 x 4 pixels");
        return {x.shape[0], x.shape[1], x.shape[2], x.shape[3], w1.shape[0], w2.shape[0], shrink_};
    }

    int64_t shrink_;
};

class RoutingGate : public RoutingGateNode {
public:
    static constexpr const char* provider = kOnCpu;

    explicit RoutingGate(const Ort::ConstKernelInfo& info) : RoutingGateNode(info) {
        for (size_t index = 2; index < kInputs; ++index) constants_.keep<float>(info, index);
        // W1 that is computed in the graph is packed at every call.
        has_packed_ = constants_.use<float>(info, 1, 2, [&](const float* w1, const Shape& shape) {
            packed_ = cpu::pack_gate_weights(w1, shape[0], shape[1]);
        });
    }

    void compute(const Ort::KernelContext& context) const {
        const Call call = read(context);
        const cpu::RoutingGateParameters parameters{call.b1, call.w2, call.b2, call.threshold,
                                                    call.threshold_per_sample};
        const auto plan = plans_.find(call.shape, cpu::plan_routing_gate);
        const auto run = [&](const cpu::PackedGateWeights& weights) {
            cpu::routing_gate(*plan, call.x, weights, parameters, call.gates, call.open, spreading_.threads(context));
        };
        if (has_packed_) return run(packed_);
        run(cpu::pack_gate_weights(call.w1, call.shape.hidden, call.shape.channels));
    }

private:
    static constexpr size_t kInputs = static_cast<size_t>(description.inputs.size);

    mutable Spreading spreading_;
    mutable PlanCache<cpu::RoutingGatePlan> plans_;
    bool has_packed_ = false;
    cpu::PackedGateWeights packed_;
};

inline void add_routing_gate(Ort::CustomOpDomain& domain) { add<RoutingGate>(domain); }

}  // namespace adroit::onnxruntime
