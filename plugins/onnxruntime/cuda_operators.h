// The operators (plugins/operators.toml) for ONNX Runtime's CUDA execution provider, in float32 or 8-bit
// integers. Every tensor is in device memory, and the work goes to the stream that ONNX Runtime names.
// RoutingDecision is not among them (routing_decision.h says why).
#pragma once

#include "kernels/cuda/adaptive_filter.h"
#include "kernels/cuda/adder_conv2d.h"
#include "kernels/cuda/quantized_adder_conv2d.h"
#include "kernels/cuda/routing_gate.h"
#include "onnxruntime/adaptive_filter.h"
#include "onnxruntime/adder_conv2d.h"
#include "onnxruntime/quantized_adder_conv2d.h"
#include "onnxruntime/routing_gate.h"
#include "onnxruntime/workspace.h"

namespace adroit::onnxruntime {

inline cudaStream_t stream_of(const Ort::KernelContext& context) {
    return static_cast<cudaStream_t>(context.GetGPUComputeStream());
}

// `error`: of a launch, which ONNX Runtime does not see.
inline void require_launched(cudaError_t error) {
    if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

class CudaAdaptiveFilter : public AdaptiveFilterNode {
public:
    static constexpr const char* provider = kOnCuda;
    using AdaptiveFilterNode::AdaptiveFilterNode;

    void compute(const Ort::KernelContext& context) const {
        const Call call = read(context);
        require_launched(cuda::adaptive_filter(stream_of(context), call.shape, cuda::DataType::kFloat32, call.x,
                                               call.logits, call.y));
    }
};

template <bool HasResidual>
class CudaAdderConv2d : public AdderConv2dNode<HasResidual> {
public:
    static constexpr const char* provider = kOnCuda;
    using AdderConv2dNode<HasResidual>::AdderConv2dNode;

    void compute(const Ort::KernelContext& context) const {
        const auto call = this->read(context);
        require_launched(cuda::adder_conv2d(stream_of(context), call.shape, cuda::DataType::kFloat32, call.x, call.w,
                                            {call.scale, call.shift, call.residual, call.relu}, call.y));
    }
};

template <bool HasResidual, typename Integer, typename Output>
class CudaQAdderConv2d : public QAdderConv2dNode<HasResidual, Integer, Output> {
    using Node = QAdderConv2dNode<HasResidual, Integer, Output>;

public:
    static constexpr const char* provider = kOnCuda;
    using Node::Node;

    void compute(const Ort::KernelContext& context) const {
        const auto call = this->read(context);
        cuda::QuantizedAdderEpilogue epilogue{};
        epilogue.scale = call.scale;
        epilogue.shift = call.shift;
        epilogue.residual = call.residual;
        epilogue.residual_scale = this->residual_scale_;
        epilogue.residual_zero_point = this->residual_zero_point_;
        epilogue.relu = this->relu_;
        epilogue.quantized_output = Node::kQuantized;
        epilogue.output_scale = this->output_scale_;
        epilogue.output_zero_point = this->output_zero_point_;
        epilogue.x_zero_point = this->x_zero_point_;
        epilogue.is_signed = Node::kSigned;
        require_launched(
            cuda::quantized_adder_conv2d(stream_of(context), call.shape, call.x, call.w, epilogue, call.y));
    }
};

class CudaRoutingGate : public RoutingGateNode {
public:
    static constexpr const char* provider = kOnCuda;
    explicit CudaRoutingGate(const Ort::ConstKernelInfo& info) : RoutingGateNode(info), memory_(info) {}

    void compute(const Ort::KernelContext& context) const {
        const Call call = read(context);
        const size_t bytes = cuda::routing_gate_workspace(call.shape);
        if (bytes == 0) require_launched(cudaErrorInvalidValue);  // a shape beyond the kernel's limits
        const auto workspace = memory_.take(context, bytes);
        const cuda::RoutingGateParameters parameters{call.w1, call.b1,        call.w2,
                                                     call.b2, call.threshold, call.threshold_per_sample};
        require_launched(cuda::routing_gate(stream_of(context), call.shape, cuda::DataType::kFloat32, call.x,
                                            parameters, call.gates, call.open, workspace.get()));
    }

private:
    DeviceAllocator memory_;
};

}  // namespace adroit::onnxruntime
