// The gradient of the adder convolution by its input on the CPU, float32, for training (AdderNet, arXiv 1912.13200,
// equation 7, whose HardTanh clips where the sign would be the derivative):
//
//   dX[n,c,ih,iw] = sum over m,kh,kw of clip(W[m,c,kh,kw] - X[n,c,ih,iw], -1, 1) * dY[n,m,oh,ow]
//
// with oh, ow the output whose tap kh, kw meets ih, iw.
#pragma once

#include "kernels/cpu/parallel.h"
#include "kernels/shapes.h"

namespace adroit::cpu {

void adder_conv2d_input_gradient(const AdderConv2dShape& shape, const float* x, const float* weights,
                                 const float* y_gradient, float* x_gradient, const ParallelFor& parallel_for);

}  // namespace adroit::cpu
