// The part of the adder convolution that is compiled once per instruction set.
//
// A tile of output rows and columns is computed from a panel: the part of X that it meets, padded, and with
// rows and columns of each stride phase apart, so that every tap is one load at an offset that is the same for
// all output pixels. In a tile the pixels of one filter lie in a run, `pitch` from row to row; what is
// between the rows' ends is computed and dropped.
#pragma once

#include "kernels/cpu/adder_conv2d.h"
#include "kernels/cpu/adder_tile.h"
#include "kernels/cpu/variant.h"

namespace adroit::cpu {

// Filters that a register block takes; pixels of a tile's run at most; vectors reach past both the run and the panel.
constexpr int64_t kMaxAdderRun = 1024, kAdderSlack = 128;
// With fewer taps than this the sum of maxima would lose too many bits (see adder_conv2d_tile.cpp).
constexpr int64_t kLeastTapsForMaxima = 64;

struct AdderConv2dCall {
    const AdderConv2dShape& shape;  // the plan's `computed`
    const AdderConv2dPlan& plan;
    const float* x;
    const PackedAdderWeights& weights;
    const AdderConv2dEpilogue& epilogue;
    float* y;
};

// What is made of X for a tile, and then used for all of its filters.
struct AdderConv2dPanel {
    float* values;         // [channels][channel_floats] and kAdderSlack more
    float* channel_sums;   // [channel_floats] and kAdderSlack more
    float* sums;           // of each pixel's taps: kMaxAdderRun and kAdderSlack more
    bool may_take_maxima;  // no value is negative
};

struct AdderConv2dVariant {
    int64_t filter_block;  // filters that one packed block of weights holds
    void (*pack_tile)(const AdderConv2dCall&, const AdderTile&, AdderConv2dPanel&);
    void (*run_tile)(const AdderConv2dCall&, const AdderTile&, const AdderConv2dPanel&);
};

ADROIT_DECLARE_VARIANTS(AdderConv2dVariant, adder_conv2d_variant)

}  // namespace adroit::cpu
