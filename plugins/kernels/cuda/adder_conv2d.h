// The adder convolution on a CUDA device (AdderNet, arXiv 1912.13200, equation 2); see
// kernels/cpu/adder_conv2d.h for the formula. The sum, scale, shift and residual are float32 and the
// result is rounded once, to the type of Y.
#pragma once

#include "kernels/cuda/launch.h"

namespace adroit::cuda {

struct AdderConv2dEpilogue {
    const float* scale;    // [M]
    const float* shift;    // [M]
    const void* residual;  // Y's shape and type, or null
    bool relu;
};

// X, W and Y have type `type`. The error is the launch's (cudaSuccess when the work was queued).
cudaError_t adder_conv2d(cudaStream_t stream, const AdderConv2dShape& shape, DataType type, const void* x,
                         const void* weights, const AdderConv2dEpilogue& epilogue, void* y);

}  // namespace adroit::cuda
