// Repacks the part of X that a tile of the quantized adder convolution reads into cells (see
// quantized_adder_conv2d_tile.h). Included by quantized_adder_conv2d_tile.cpp, once per instruction set.
//
// Cells are written in order of their addresses, several at a time; those written past the end of a
// row are then overwritten by the next row's, and the panel has room for those past the last.
#pragma once

#include "kernels/cpu/quantized_adder_cells.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {

// Row `index` of a plane of X; that may be outside of X.
inline SourceRow source_row(const QuantizedAdderCall& call, const uint8_t* plane, int64_t index) {
    const bool inside = index >= 0 && index < call.shape.height;
    return {plane + (inside ? index * call.shape.width : 0), inside ? call.shape.width : 0,
            static_cast<uint8_t>(call.x.zero_point), static_cast<uint8_t>(call.x.is_signed ? 0x80 : 0)};
}

inline void pack_windows(const QuantizedAdderCall& call, const AdderTile& tile, const uint8_t* plane, uint8_t* out) {
    const AdderConv2dShape& s = call.shape;
    const QuantizedAdderPlan& plan = call.plan;
    const WindowRows rows(source_row(call, plane, 0), tile.first_column - s.pad_left, plan.packed_cells);
    for (int64_t channel = 0; channel < s.in_channels; ++channel, plane += s.height * s.width)
        for (int64_t down = 0; down < plan.phases_down; ++down)
            for (int64_t i = 0; i < plan.packed_rows; ++i, out += plan.row_bytes())
                rows.write(source_row(call, plane, (tile.first_row + i) * s.stride_height + down - s.pad_top), out);
}

inline void pack_channels(const QuantizedAdderCall& call, const AdderTile& tile, const uint8_t* plane, uint8_t* out) {
    const AdderConv2dShape& s = call.shape;
    const QuantizedAdderPlan& plan = call.plan;
    const int64_t plane_bytes = s.height * s.width, first_column = tile.first_column * s.stride_width - s.pad_left;
    for (int64_t left = s.in_channels; left > 0; left -= 8, plane += 8 * plane_bytes)
        for (int64_t down = 0; down < plan.phases_down; ++down)
            for (int64_t along = 0; along < plan.phases_along; ++along)
                for (int64_t i = 0; i < plan.packed_rows; ++i, out += plan.row_bytes()) {
                    const int64_t index = (tile.first_row + i) * s.stride_height + down - s.pad_top;
                    const SourceRow row = source_row(call, plane, index);
                    for (int64_t j = 0; j < plan.packed_cells; j += 16)
                        write_channels(row, plane_bytes, std::min(left, int64_t{8}),
                                       first_column + j * s.stride_width + along, s.stride_width, out + j * 8);
                }
}

// The whole panel of a tile. Rows of X past those that the tile's own outputs need are packed too
// where the tile has fewer rows than the plan's: their sums are not used.
inline void pack_panel(const QuantizedAdderCall& call, const AdderTile& tile, uint8_t* out) {
    const AdderConv2dShape& s = call.shape;
    const uint8_t* image = static_cast<const uint8_t*>(call.x.values) + tile.image * s.in_channels * s.height * s.width;
    call.plan.windows ? pack_windows(call, tile, image, out) : pack_channels(call, tile, image, out);
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
