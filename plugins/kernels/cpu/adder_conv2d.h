// The adder convolution on the CPU, float32 (AdderNet, arXiv 1912.13200, equation 2):
//
//   Y[n,m,oh,ow] = act(scale[m] * (-sum over c,kh,kw of |Xpad - W[m,c,kh,kw]|) + shift[m] + residual)
//
// Zero padding is part of the sum: a padded tap adds |W|.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/shapes.h"

namespace adroit::cpu {

// Everything but X. `residual` has Y's shape or is null.
struct AdderConv2dEpilogue {
    const float* scale;
    const float* shift;
    const float* residual;
    bool relu;
};

// W reordered once per session for the instruction set in use: blocks of filters, innermost.
struct PackedAdderWeights {
    std::vector<float> values;
    std::vector<float> sums;  // of each filter
    int64_t out_channels = 0, taps = 0;
};

PackedAdderWeights pack_adder_weights(const float* weights, int64_t out_channels, int64_t taps);

void adder_conv2d(const AdderConv2dShape& shape, const float* x, const PackedAdderWeights& weights,
                  const AdderConv2dEpilogue& epilogue, float* y, const ParallelFor& parallel_for);

}  // namespace adroit::cpu
