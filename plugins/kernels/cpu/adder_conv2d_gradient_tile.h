// The part of the adder convolution's gradient that is compiled once per instruction set.
//
// Pixels of X whose row and column have the same remainders by the stride form a phase: they meet the same taps, and
// neighbors of a phase meet neighboring outputs. Outputs lie in a panel with zeros around them, the filters
// innermost, so that every tap of every pixel of a phase is found at one offset from the pixel's own place.
#pragma once

#include <vector>

#include "kernels/cpu/adder_conv2d_gradient.h"
#include "kernels/cpu/variant.h"

namespace adroit::cpu {

struct AdderGradientTap {
    int64_t weights;  // number of the tap in the window
    int64_t outputs;  // floats in the panel from the pixel's place to the output that the tap belongs to
};

struct AdderGradientPhase {
    int64_t first_row, first_column;  // of X; the others follow at steps of the stride
    std::vector<AdderGradientTap> taps;
};

struct AdderGradientPlan {
    std::vector<AdderGradientPhase> phases;
    int64_t rows_before, columns_before;  // zeros in the panel in front of the outputs
    int64_t rows, columns;                // of the panel
};

struct AdderGradientCall {
    const AdderConv2dShape& shape;
    const AdderGradientPlan& plan;
    const float* x;
    const float* packed_weights;  // [channels / lanes, rounded up][kH][kW][M][lanes]
    float* x_gradient;
};

struct AdderGradientVariant {
    int64_t lanes, pixels;  // channels, and pixels of a row, that are computed at once
    // All pixels of an image and `lanes` channels. `row` has room for 2 * lanes * (width + stride * pixels) floats.
    void (*run_channels)(const AdderGradientCall&, int64_t image, int64_t block, const float* panel, float* row);
};

ADROIT_DECLARE_VARIANTS(AdderGradientVariant, adder_gradient_variant)

}  // namespace adroit::cpu
