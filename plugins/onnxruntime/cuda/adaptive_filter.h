// AdaptiveFilter (plugins/operators.toml) for ONNX Runtime's CUDA execution provider.
#pragma once

#include "kernels/cuda/adaptive_filter.h"
#include "onnxruntime/adaptive_filter.h"
#include "onnxruntime/cuda/launch.h"

namespace adroit::onnxruntime {

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

template <template <typename> class On>
void add_cuda_adaptive_filter(Ort::CustomOpDomain& domain) {
    add<On<CudaAdaptiveFilter>>(domain);
}

}  // namespace adroit::onnxruntime
