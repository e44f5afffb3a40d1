// AdderConv2d and AdderConv2dAdd (plugins/operators.toml) for ONNX Runtime's CUDA execution provider.
#pragma once

#include "kernels/cuda/adder_conv2d.h"
#include "onnxruntime/adder_conv2d.h"
#include "onnxruntime/cuda/launch.h"

namespace adroit::onnxruntime {

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

template <template <typename> class On>
void add_cuda_adder_conv2d(Ort::CustomOpDomain& domain) {
    add<On<CudaAdderConv2d<false>>>(domain);
    add<On<CudaAdderConv2d<true>>>(domain);
}

}  // namespace adroit::onnxruntime
