// RoutingDecision (plugins/operators.toml) for ONNX Runtime on the CPU. It has no kernel for CUDA: its flags are
// conditions of If nodes, which ONNX Runtime reads on the host. In a session on CUDA, ONNX Runtime copies.
#pragma once

#include "kernels/cpu/routing_decision.h"
#include "onnxruntime/adapter.h"
#include "onnxruntime/constants.h"
#include "onnxruntime/registration.h"
#include "operators.h"

namespace adroit::onnxruntime {

class RoutingDecision {
public:
    static constexpr const adroit::description::Operator& description = adroit::description::kRoutingDecision;
    static constexpr const char* provider = kOnCpu;
    static ONNXTensorElementDataType input_type(size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
    static ONNXTensorElementDataType output_type(size_t index) {
        return index < 3 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
    }

    explicit RoutingDecision(const Ort::ConstKernelInfo& info) {
        for (size_t index = 2; index < kInputs; ++index) constants_.keep<float>(info, index);
    }

    void compute(const Ort::KernelContext& context) const {
        const FloatInput gates = float_input(context, 0, "gates", 2), live = float_input(context, 1, "live", 2);
        const FloatInput belongs = constants_.read<float>(context, 2, "belongs", 2);
        const FloatInput reach = constants_.read<float>(context, 3, "reach", 2);
        const FloatInput shown = constants_.read<float>(context, 4, "shown", 2);
        const RoutingDecisionShape shape{gates.shape[0], gates.shape[1], live.shape[1], reach.shape[1], shown.shape[1]};
        require_shape(live, "live", {shape.batch, shape.nodes});
        require_shape(belongs, "belongs", {shape.paths, shape.nodes});
        require_shape(reach, "reach", {shape.states(), shape.reached});
        require_shape(shown, "shown", {shape.states(), shape.flags});
        float* counted = tensor_output<float>(context, 0, {shape.batch, shape.paths});
        float* opened = tensor_output<float>(context, 1, {shape.batch, shape.nodes});
        float* reached = tensor_output<float>(context, 2, {shape.batch, shape.reached});
        bool* flags = tensor_output<bool>(context, 3, {shape.flags});
        cpu::routing_decision(shape, {gates.data, live.data, belongs.data, reach.data, shown.data},
                              {counted, opened, reached, flags});
    }

private:
    static constexpr size_t kInputs = static_cast<size_t>(description.inputs.size);

    Constants constants_;
};

inline void add_routing_decision(Ort::CustomOpDomain& domain) { add<RoutingDecision>(domain); }

}  // namespace adroit::onnxruntime
