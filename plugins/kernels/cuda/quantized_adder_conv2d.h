// The adder convolution of 8-bit tensors on a CUDA device:
//
//   S     = sum over c,kh,kw of |Xpad - W[m,c,kh,kw]|, an exact int32; Xpad is X padded with x_zero_point
//   value = scale[m] * (-S) + shift[m] + residual_scale * (residual - residual_zero_point), float32; then ReLU
//   Y     = value, or saturate(round_half_to_even(value / output_scale) + output_zero_point)
//
// Each step is rounded in float32 and none fused with the next: every implementation gives the same bits.
//
// X and W share one scale and one zero point (|sx * a - sw * b| has no common factor otherwise), which
// `scale` holds. A runtime that knows only signed bytes shifts both by 128: the differences are the same.
#pragma once

#include "kernels/cuda/launch.h"

namespace adroit::cuda {

struct QuantizedAdderEpilogue {
    const float* scale;    // [M]
    const float* shift;    // [M]
    const void* residual;  // Y's shape, 8-bit, or null
    float residual_scale;
    int residual_zero_point;
    bool relu;
    bool quantized_output;  // Y is 8-bit; else float32, and the two below are not used
    float output_scale;
    int output_zero_point;
    int x_zero_point;
    bool is_signed;  // every 8-bit tensor is int8; else uint8
};

// X and W are 8-bit. At most kMaxQuantizedTaps taps; more is cudaErrorInvalidValue.
cudaError_t quantized_adder_conv2d(cudaStream_t stream, const AdderConv2dShape& shape, const void* x,
                                   const void* weights, const QuantizedAdderEpilogue& epilogue, void* y);

// Taps whose differences of at most 255 an int32 holds.
constexpr int64_t kMaxQuantizedTaps = 2147483647 / 255;

}  // namespace adroit::cuda
