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

namespace adroit::cpu {

constexpr int64_t kMaxFilterSize = 7;

struct AdaptiveFilterShape {
    int64_t batch, channels, height, width;  // X: N C H W; height and width above kernel_size / 2
    int64_t kernel_size, stride, groups;     // kernel_size odd and at most kMaxFilterSize; groups divides channels
    bool joint_softmax;

    int64_t taps() const { return kernel_size * kernel_size; }
    int64_t out_height() const { return (height + stride - 1) / stride; }
    int64_t out_width() const { return (width + stride - 1) / stride; }
};

void adaptive_filter(const AdaptiveFilterShape& shape, const float* x, const float* logits, float* y,
                     const ParallelFor& parallel_for);

}  // namespace adroit::cpu
