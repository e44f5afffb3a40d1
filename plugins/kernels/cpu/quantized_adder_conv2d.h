// The adder convolution of 8-bit integers on the CPU (QAdderConv2d and QAdderConv2dAdd in
// plugins/operators.toml, which defines every bit of the result):
//
//   S     = sum over c,kh,kw of |Xpad - W[m,c,kh,kw]|, exact; Xpad is X padded with x_zero_point
//   value = act((shift[m] - scale[m] * S) + residual_scale * (residual - residual_zero_point))
//   Y     = value, or saturate(round_half_to_even(value / output_scale) + output_zero_point)
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/shapes.h"

namespace adroit::cpu {

// Taps (C * kH * kW) at most: a sum of so many differences stays below 2^24, exact in float32 too.
constexpr int64_t kMaxQuantizedTaps = 65793;

struct QuantizedAdderEpilogue {
    const float* scale;
    const float* shift;
    const void* residual;  // X's type and Y's shape, or null
    float residual_scale;
    int32_t residual_zero_point;
    bool relu;
    bool quantized;  // Y has X's type; else it is float32 and the following are not used
    float output_scale;
    int32_t output_zero_point;
};

// 8-bit integers of either kind.
struct QuantizedTensor {
    const void* values;
    bool is_signed;
    int32_t zero_point;
};

// W reordered once per session for the instruction set in use and the kind of sum that fits the shape.
struct PackedQuantizedWeights {
    std::vector<uint8_t> values;
    bool windows;  // rows of taps met by sliding windows; else groups of channels
};

// What one step of the sum takes: a row of taps for neighboring outputs, or a tap of eight channels.
// `fastest` is what suits this CPU and the kernel; tests ask for the others.
enum class QuantizedStep { fastest, windows, channels };

// Only the kernel's size, the channels and the strides of `shape` count. weights: [M,C,kH,kW].
// `windows` is taken where the instruction set has it and the kernel is 3 or 4 wide with stride 1.
PackedQuantizedWeights pack_quantized_weights(const AdderConv2dShape& shape, const void* weights, bool is_signed,
                                              QuantizedStep step = QuantizedStep::fastest);

// How the work on one shape is cut and laid out: a caller with many calls of one shape makes it once.
struct QuantizedAdderPlan {
    AdderConv2dShape shape, computed;  // as given; and as computed, where an image may be one long row
    bool windows;
    int64_t cell_bytes, cell_pixels;    // 16 and 8, or 8 and 1
    int64_t blocks;                     // channels, or groups of 8 channels
    int64_t phases_down, phases_along;  // stride phases that any tap meets
    int64_t tile_rows, tile_columns;    // outputs of a tile at most
    int64_t packed_rows, packed_cells;  // of one block and phase: rows, and cells of a row
    std::vector<int64_t> offsets;       // of every step, in bytes from the first cell of an output

    int64_t row_bytes() const { return packed_cells * cell_bytes; }
    int64_t plane_bytes() const { return packed_rows * row_bytes(); }
    int64_t panel_bytes() const { return blocks * phases_down * phases_along * plane_bytes(); }
    int64_t pitch() const { return packed_cells * cell_pixels; }  // outputs from a row of the tile to the next
    int64_t steps() const { return static_cast<int64_t>(offsets.size()); }
};

// windows: as in the packed weights of the shape.
QuantizedAdderPlan plan_quantized_adder_conv2d(const AdderConv2dShape& shape, bool windows);

// y: [N,M,Ho,Wo], of X's type or float32. The plan's `windows` are those of the weights.
void quantized_adder_conv2d(const QuantizedAdderPlan& plan, const QuantizedTensor& x,
                            const PackedQuantizedWeights& weights, const QuantizedAdderEpilogue& epilogue, void* y,
                            const ParallelFor& parallel_for);

}  // namespace adroit::cpu
