// What the adder convolutions share: X and W under strides and padding.
#pragma once

#include "kernels/shapes.h"
#include "tensorrt/attributes.h"
#include "tensorrt/tensors.h"

namespace adroit::tensorrt {

class Window {
public:
    explicit Window(const Attributes& attributes)
        : strides_(attributes.integers("strides")), pads_(attributes.integers("pads")) {}

    // Y: [N, M, Ho, Wo]
    void output_shape(const nvinfer1::DimsExprs* in, nvinfer1::DimsExprs* out, Expressions& expressions) const {
        const nvinfer1::DimsExprs &x = in[0], &w = in[1];
        out[0].d[0] = x.d[0];
        out[0].d[1] = w.d[0];
        out[0].d[2] = expressions.convolved(x.d[2], w.d[2], strides_[0], pads_[0], pads_[2]);
        out[0].d[3] = expressions.convolved(x.d[3], w.d[3], strides_[1], pads_[1], pads_[3]);
    }

    // Inputs: X, W, scale, shift and, if there is one, the residual.
    AdderConv2dShape check(const nvinfer1::PluginTensorDesc* in, bool has_residual) const {
        const nvinfer1::Dims &x = in[0].dims, &w = in[1].dims;
        if (x.d[1] != w.d[1])
            throw InvalidInput("X has " + std::to_string(x.d[1]) + " channels, W expects " + std::to_string(w.d[1]));
        if (x.d[2] + pads_[0] + pads_[2] < w.d[2] || x.d[3] + pads_[1] + pads_[3] < w.d[3])
            throw InvalidInput("X (" + shape_text(x) + ") with its padding is smaller than the kernel (" +
                               shape_text(w) + ")");
        const AdderConv2dShape shape{x.d[0],      x.d[1],      x.d[2],   x.d[3],   w.d[0],   w.d[2],  w.d[3],
                                     strides_[0], strides_[1], pads_[0], pads_[1], pads_[2], pads_[3]};
        require_shape("scale", in[2].dims, {shape.out_channels});
        require_shape("shift", in[3].dims, {shape.out_channels});
        if (has_residual)
            require_shape("residual", in[4].dims,
                          {shape.batch, shape.out_channels, shape.out_height(), shape.out_width()});
        return shape;
    }

private:
    std::vector<int32_t> strides_, pads_;
};

}  // namespace adroit::tensorrt
