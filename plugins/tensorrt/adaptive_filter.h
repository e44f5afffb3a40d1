// AdaptiveFilter (plugins/operators.toml) for TensorRT. float32 or float16, all tensors alike.
#pragma once

#include <algorithm>

#include "kernels/cuda/adaptive_filter.h"
#include "operators.h"
#include "tensorrt/plugin.h"

namespace adroit::tensorrt {

class AdaptiveFilter {
public:
    static constexpr const adroit::description::Operator& description = adroit::description::kAdaptiveFilter;

    explicit AdaptiveFilter(const Attributes& attributes)
        : kernel_size_(attributes.integer("kernel_size")),
          stride_(attributes.integer("stride")),
          groups_(attributes.integer("groups")),
          joint_softmax_(attributes.integer("joint_softmax") == 1) {}

    static bool supports(nvinfer1::DataType x) { return is_float(x); }
    static nvinfer1::DataType type(int32_t, nvinfer1::DataType x) { return x; }

    // Y: [N, C, Ho, Wo]
    void output_shapes(const nvinfer1::DimsExprs* in, nvinfer1::DimsExprs* out, Expressions& expressions) const {
        for (int32_t i = 0; i < 4; ++i) out[0].d[i] = i < 2 ? in[0].d[i] : expressions.kept(in[0].d[i], stride_);
    }

    AdaptiveFilterShape check(const nvinfer1::PluginTensorDesc* in) const {
        const nvinfer1::Dims& x = in[0].dims;
        if (x.d[1] % groups_ != 0)
            throw InvalidInput("X has " + std::to_string(x.d[1]) + " channels, which " + std::to_string(groups_) +
                               " groups do not divide");
        if (std::min(x.d[2], x.d[3]) <= kernel_size_ / 2)
            throw InvalidInput("X (" + shape_text(x) + ") is too small to reflect by " +
                               std::to_string(kernel_size_ / 2) + " pixels");
        const AdaptiveFilterShape shape{x.d[0], x.d[1], x.d[2], x.d[3], kernel_size_, stride_, groups_, joint_softmax_};
        require_shape("logits", in[1].dims,
                      {shape.batch, shape.groups * shape.taps(), shape.out_height(), shape.out_width()});
        return shape;
    }
    size_t workspace(const nvinfer1::Dims*) const { return 0; }

    cudaError_t enqueue(const Call& call) const {
        return cuda::adaptive_filter(call.stream, check(call.inputs), kernel_type(call.inputs[0].type), call.input[0],
                                     call.input[1], call.output[0]);
    }

private:
    int64_t kernel_size_, stride_, groups_;
    bool joint_softmax_;
};

inline void add_adaptive_filter(Creators& creators) { creators.push_back(creator<AdaptiveFilter>()); }

}  // namespace adroit::tensorrt
