// The part of the quantized adder convolution that is compiled once per instruction set.
//
// A tile of output rows and columns is computed from a panel: X repacked into cells, so that every
// step of the sum is one load at an offset that is the same for all output pixels. A cell is
//   windows   16 bytes, of one channel and row: the 8 pixels from which 8 outputs start, and 8 more;
//             a step is (channel, kh) and takes all of kW (3 or 4) at once;
//   channels  8 bytes, of one pixel: 8 channels; a step is (8 channels, kh, kw).
// Rows and columns of each stride phase lie apart, so that strides are steps of one cell.
#pragma once

#include "kernels/cpu/adder_tile.h"
#include "kernels/cpu/quantized_adder_conv2d.h"
#include "kernels/cpu/variant.h"

namespace adroit::cpu {

struct QuantizedAdderCall {
    const AdderConv2dShape& shape;  // the plan's `computed`
    const QuantizedAdderPlan& plan;
    const QuantizedTensor& x;
    const uint8_t* weights;
    const QuantizedAdderEpilogue& epilogue;
    void* y;
};

// What is made of X for a tile, and then used for all of its filters.
struct QuantizedAdderPanel {
    uint8_t* cells;            // kPanelSlack bytes more than the plan's
    uint32_t* fourth_by_cell;  // half as many numbers as `cells` has bytes of one channel, and kPanelSlack more
    uint32_t* initial;         // kTileRun: what every sum starts from, which takes off what its fourth taps add
};

struct QuantizedAdderVariant {
    int64_t filter_block;  // filters that one packed block of weights holds
    bool has_windows, windows_are_fast;
    void (*pack_tile)(const QuantizedAdderCall&, const AdderTile&, const QuantizedAdderPanel&);
    void (*run_tile)(const QuantizedAdderCall&, const AdderTile&, const QuantizedAdderPanel&);
};

// Outputs of a tile and one filter at most: a filter block's sums then stay in the first-level cache.
constexpr int64_t kMaxQuantizedTilePixels = 512;

// Outputs of one filter in a tile, rows plan.pitch() apart, and room for whole vectors past them.
constexpr int64_t kTileRun = kMaxQuantizedTilePixels + 64;
// Room for whole vectors past the panel's last cell.
constexpr int64_t kPanelSlack = 128;

ADROIT_DECLARE_VARIANTS(QuantizedAdderVariant, quantized_adder_conv2d_variant)

}  // namespace adroit::cpu
