// The adaptive anti-aliasing filter on the CPU, float32 (arXiv 2008.09604, section 3):
//
//   Y[n,c,oh,ow] = sum over taps t of softmax(logits)[n, j*k*k + t, oh, ow] * Xpad[n, c, oh*s + t/k, ow*s + t%k]
//
// with j = c / (C/G) the channel's group, and Xpad = X reflect-padded by k/2. The softmax runs over
// all G*k*k channels (joint) or over each group's k*k. Only the positions that the stride keeps are
// computed.
#pragma once

#include <cstdint>

#include "kernels/cpu/parallel.h"
#include "kernels/shapes.h"

namespace adroit::cpu {

// How the work on one shape is cut: outputs of a tile at most. A caller with many calls of one shape makes it once.
struct AdaptiveFilterPlan {
    AdaptiveFilterShape shape;
    int64_t tile_rows, tile_columns;
};

AdaptiveFilterPlan plan_adaptive_filter(const AdaptiveFilterShape& shape);

void adaptive_filter(const AdaptiveFilterPlan& plan, const float* x, const float* logits, float* y,
                     const ParallelFor& parallel_for);

}  // namespace adroit::cpu
