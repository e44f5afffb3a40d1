// RoutingGate (plugins/operators.toml) for ONNX Runtime's CUDA execution provider.
#pragma once

#include "kernels/cuda/routing_gate.h"
#include "onnxruntime/cuda/launch.h"
#include "onnxruntime/routing_gate.h"
#include "onnxruntime/workspace.h"

namespace adroit::onnxruntime {

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

template <template <typename> class On>
void add_cuda_routing_gate(Ort::CustomOpDomain& domain) {
    add<On<CudaRoutingGate>>(domain);
}

}  // namespace adroit::onnxruntime
