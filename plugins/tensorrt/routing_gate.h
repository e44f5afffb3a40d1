// RoutingGate (plugins/operators.toml) for TensorRT. X and W1 are float32 or float16, all else float32.
//
// `open` is int32 here, 1 for true, and not bool: every header from 10.3 to 11.1 says of
// getOutputDataTypes that kBOOL is not supported. A Cast to bool after it is right in either case.
#pragma once

#include "kernels/cuda/routing_gate.h"
#include "operators.h"
#include "tensorrt/plugin.h"

namespace adroit::tensorrt {

class RoutingGate {
    using DataType = nvinfer1::DataType;

public:
    static constexpr const adroit::description::Operator& description = adroit::description::kRoutingGate;

    explicit RoutingGate(const Attributes& attributes) : shrink_(attributes.integer("shrink")) {}

    static bool supports(DataType x) { return is_float(x); }
    // Positions: X, W1, b1, W2, b2, threshold, gates, open.
    static DataType type(int32_t position, DataType x) {
        return position < 2 ? x : position < 7 ? DataType::kFLOAT : DataType::kINT32;
    }

    // gates: [N, P]; open: [P]
    void output_shapes(const nvinfer1::DimsExprs* in, nvinfer1::DimsExprs* out, Expressions&) const {
        out[0].d[0] = in[0].d[0];
        out[0].d[1] = out[1].d[0] = in[3].d[0];
    }

    RoutingGateShape check(const nvinfer1::PluginTensorDesc* in) const {
        const nvinfer1::Dims &x = in[0].dims, &w1 = in[1].dims, &w2 = in[3].dims, &threshold = in[5].dims;
        if (x.d[1] != w1.d[1])
            throw InvalidInput("X has " + std::to_string(x.d[1]) + " channels, W1 expects " + std::to_string(w1.d[1]));
        if (w1.d[0] != w2.d[1])
            throw InvalidInput("W1 gives " + std::to_string(w1.d[0]) + " hidden channels, W2 expects " +
                               std::to_string(w2.d[1]));
        if (x.d[2] < shrink_ || x.d[3] < shrink_)
            throw InvalidInput("X (" + shape_text(x) + ") is smaller than the shrink of " + std::to_string(shrink_));
        require_shape("b1", in[2].dims, {w1.d[0]});
        require_shape("b2", in[4].dims, {w2.d[0]});
        if (threshold.d[0] != 1) require_shape("threshold", threshold, {x.d[0]});
        return shape(x, w1, w2);
    }

    size_t workspace(const nvinfer1::Dims* largest) const {
        return cuda::routing_gate_workspace(shape(largest[0], largest[1], largest[3]));
    }

    cudaError_t enqueue(const Call& call) const {
        const auto floats = [&](int i) { return static_cast<const float*>(call.input[i]); };
        const cuda::RoutingGateParameters parameters{call.input[1], floats(2), floats(3),
                                                     floats(4),     floats(5), call.inputs[5].dims.d[0] != 1};
        return cuda::routing_gate(call.stream, check(call.inputs), kernel_type(call.inputs[0].type), call.input[0],
                                  parameters, static_cast<float*>(call.output[0]),
                                  static_cast<int32_t*>(call.output[1]), call.workspace);
    }

private:
    RoutingGateShape shape(const nvinfer1::Dims& x, const nvinfer1::Dims& w1, const nvinfer1::Dims& w2) const {
        return {x.d[0], x.d[1], x.d[2], x.d[3], w1.d[0], w2.d[0], shrink_};
    }

    int64_t shrink_;
};

inline void add_routing_gate(Creators& creators) { creators.push_back(creator<RoutingGate>()); }

}  // namespace adroit::tensorrt
