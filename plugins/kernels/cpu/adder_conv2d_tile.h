// The part of the adder convolution that is compiled once per instruction set.
#pragma once

#include "kernels/cpu/adder_conv2d.h"
#include "kernels/cpu/variant.h"

namespace adroit::cpu {

// Computes output pixels [first_pixel, first_pixel + pixels) of image `image` for filters
// [first_filter, first_filter + filters); both starts are multiples of the plan's steps.
struct AdderConv2dTile {
    int64_t image, first_pixel, pixels, first_filter, filters;
};

struct AdderConv2dVariant {
    int64_t filter_block;     // filters that one packed block of weights holds
    int64_t lanes;            // pixels a vector holds
    int64_t max_tile_pixels;  // pixels that a tile may hold
    void (*run_tile)(const AdderConv2dShape&, const float* x, const float* packed_weights, const AdderConv2dEpilogue&,
                     float* y, const AdderConv2dTile&);
};

// Filters a tile handles at most: its accumulators then stay in the first-level cache.
constexpr int64_t kFiltersPerTile = 128;

ADROIT_DECLARE_VARIANTS(AdderConv2dVariant, adder_conv2d_variant)

}  // namespace adroit::cpu
