// Bilinear upsampling by 2 or 4 on the CPU, float32: ONNX's Resize, linear and half_pixel, as torch's interpolate
// with align_corners False. Positions beyond X's edges hold the value of the edge.
//
// With F the factor, F rows of Y lie between two rows of X, at (q + 1/2) / F of the way, q = 0 to F - 1, and so do
// columns. First columns, then rows; each step is a * (1 - t) + b * t in float32, no product and sum fused, so that
// every instruction set gives the same bits.
#pragma once

#include "kernels/cpu/parallel.h"
#include "kernels/shapes.h"

namespace adroit::cpu {

void bilinear_upsample(const BilinearUpsampleShape& shape, const float* x, float* y, const ParallelFor& parallel_for);

}  // namespace adroit::cpu
