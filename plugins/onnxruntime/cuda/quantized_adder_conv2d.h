// QAdderConv2d and QAdderConv2dAdd (plugins/operators.toml) for ONNX Runtime's CUDA execution provider.
#pragma once

#include "kernels/cuda/quantized_adder_conv2d.h"
#include "onnxruntime/cuda/launch.h"
#include "onnxruntime/quantized_adder_conv2d.h"

namespace adroit::onnxruntime {

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

template <template <typename> class On>
void add_cuda_quantized_adder_conv2d(Ort::CustomOpDomain& domain) {
    add_quantized<On, CudaQAdderConv2d>(domain);
}

}  // namespace adroit::onnxruntime
