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

// How the work on one shape is cut and laid out. It depends on nothing else, so that a caller with many calls of one
// shape makes it once.
struct AdderConv2dPlan {
    AdderConv2dShape shape, computed;   // as given; and as computed, where an image may be one long row
    int64_t tile_rows, tile_columns;    // outputs of a tile at most
    int64_t phases_down, phases_along;  // stride phases that any tap meets
    int64_t packed_rows, pitch;         // of one phase of a channel: rows, and floats from one to the next
    int64_t phase_floats, channel_floats;
    std::vector<int64_t> window;  // of each tap of a channel: floats from an output's place in the panel
    int64_t channels_per_pass;    // sums are closed after so many
    float least_share;            // of the sum of maxima that a sum of differences must have to be trusted

    int64_t run() const { return (tile_rows - 1) * pitch + tile_columns; }
};

AdderConv2dPlan plan_adder_conv2d(const AdderConv2dShape& shape);

void adder_conv2d(const AdderConv2dPlan& plan, const float* x, const PackedAdderWeights& weights,
                  const AdderConv2dEpilogue& epilogue, float* y, const ParallelFor& parallel_for);

}  // namespace adroit::cpu
