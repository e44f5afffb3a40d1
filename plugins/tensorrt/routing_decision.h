// RoutingDecision (plugins/operators.toml) for TensorRT. All float32, but `flags`, which is int32 as `open` of
// RoutingGate is (routing_gate.h says why).
#pragma once

#include "kernels/cuda/routing_decision.h"
#include "operators.h"
#include "tensorrt/plugin.h"

namespace adroit::tensorrt {

class RoutingDecision {
    using DataType = nvinfer1::DataType;

public:
    static constexpr const adroit::description::Operator& description = adroit::description::kRoutingDecision;

    explicit RoutingDecision(const Attributes&) {}

    static bool supports(DataType gates) { return gates == DataType::kFLOAT; }
    // Positions: gates, live, belongs, reach, shown, counted, opened, reached, flags.
    static DataType type(int32_t position, DataType) { return position < 8 ? DataType::kFLOAT : DataType::kINT32; }

    // counted: [N, P]; opened: [N, S]; reached: [N, T]; flags: [K]
    void output_shapes(const nvinfer1::DimsExprs* in, nvinfer1::DimsExprs* out, Expressions&) const {
        out[0] = in[0];
        out[1] = in[1];
        out[2].d[0] = in[0].d[0];
        out[2].d[1] = in[3].d[1];
        out[3].d[0] = in[4].d[1];
    }

    RoutingDecisionShape check(const nvinfer1::PluginTensorDesc* in) const {
        const nvinfer1::Dims &gates = in[0].dims, &live = in[1].dims, &reach = in[3].dims, &shown = in[4].dims;
        const RoutingDecisionShape shape{gates.d[0], gates.d[1], live.d[1], reach.d[1], shown.d[1]};
        require_shape("live", live, {shape.batch, shape.nodes});
        require_shape("belongs", in[2].dims, {shape.paths, shape.nodes});
        require_shape("reach", reach, {shape.states(), shape.reached});
        require_shape("shown", shown, {shape.states(), shape.flags});
        return shape;
    }

    size_t workspace(const nvinfer1::Dims*) const { return 0; }

    cudaError_t enqueue(const Call& call) const {
        const auto in = [&](int i) { return static_cast<const float*>(call.input[i]); };
        const auto out = [&](int i) { return static_cast<float*>(call.output[i]); };
        return cuda::routing_decision(call.stream, check(call.inputs), {in(0), in(1), in(2), in(3), in(4)},
                                      {out(0), out(1), out(2), static_cast<int32_t*>(call.output[3])});
    }
};

inline void add_routing_decision(Creators& creators) { creators.push_back(creator<RoutingDecision>()); }

}  // namespace adroit::tensorrt
