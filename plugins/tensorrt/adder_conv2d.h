// AdderConv2d and AdderConv2dAdd (plugins/operators.toml) for TensorRT. float32 or float16; scale
// and shift are float32.
#pragma once

#include "kernels/cuda/adder_conv2d.h"
#include "operators.h"
#include "tensorrt/plugin.h"
#include "tensorrt/window.h"

namespace adroit::tensorrt {

template <bool HasResidual>
class AdderConv2d {
public:
    static constexpr const adroit::description::Operator& description =
        HasResidual ? adroit::description::kAdderConv2dAdd : adroit::description::kAdderConv2d;

    explicit AdderConv2d(const Attributes& attributes)
        : window_(attributes), relu_(attributes.integer("activation") == 1) {}

    static bool supports(nvinfer1::DataType x) { return is_float(x); }
    static nvinfer1::DataType type(int32_t position, nvinfer1::DataType x) {
        return position == 2 || position == 3 ? nvinfer1::DataType::kFLOAT : x;
    }

    void output_shapes(const nvinfer1::DimsExprs* in, nvinfer1::DimsExprs* out, Expressions& expressions) const {
        window_.output_shape(in, out, expressions);
    }
    AdderConv2dShape check(const nvinfer1::PluginTensorDesc* in) const { return window_.check(in, HasResidual); }
    size_t workspace(const nvinfer1::Dims*) const { return 0; }

    cudaError_t enqueue(const Call& call) const {
        const cuda::AdderConv2dEpilogue epilogue{static_cast<const float*>(call.input[2]),
                                                 static_cast<const float*>(call.input[3]),
                                                 HasResidual ? call.input[4] : nullptr, relu_};
        return cuda::adder_conv2d(call.stream, check(call.inputs), kernel_type(call.inputs[0].type), call.input[0],
                                  call.input[1], epilogue, call.output[0]);
    }

private:
    Window window_;
    bool relu_;
};

inline void add_adder_conv2d(Creators& creators) {
    creators.push_back(creator<AdderConv2d<false>>());
    creators.push_back(creator<AdderConv2d<true>>());
}

}  // namespace adroit::tensorrt
