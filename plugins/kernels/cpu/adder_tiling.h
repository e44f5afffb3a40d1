// How the drivers of the adder convolutions, float32 and quantized, cut their work into tasks. Not for sources that are
// compiled once per instruction set: functions compiled for AVX-512 could be merged into these.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/adder_tile.h"
#include "kernels/shapes.h"

namespace adroit::cpu {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A kernel of one pixel sees no rows: X becomes one long row, which wastes no part of a vector.
inline AdderConv2dShape without_rows(AdderConv2dShape s) {
    const bool moves = s.stride_height != 1 || s.stride_width != 1;
    const bool padded = s.pad_top != 0 || s.pad_left != 0 || s.pad_bottom != 0 || s.pad_right != 0;
    if (s.kernel_height != 1 || s.kernel_width != 1 || moves || padded) return s;
    s.width *= s.height;
    s.height = 1;
    return s;
}

// A task is a tile of outputs and a group of filters. The groups of a tile follow each other: what is made of X for
// the tile is made once by a thread that gets several of them.
class AdderTiling {
public:
    // tile_rows, tile_columns, group: outputs and filters of a task at most.
    AdderTiling(const AdderConv2dShape& shape, int64_t tile_rows, int64_t tile_columns, int64_t group)
        : shape_(shape), tile_rows_(tile_rows), tile_columns_(tile_columns), group_(group) {}

    int64_t tasks() const { return shape_.batch * down() * across() * groups(); }
    int64_t tile_of(int64_t task) const { return task / groups(); }

    AdderTile at(int64_t task) const {
        const int64_t group = task % groups(), tile = tile_of(task), row = tile / across();
        AdderTile t;
        t.first_filter = group * group_;
        t.filters = std::min(group_, shape_.out_channels - t.first_filter);
        t.first_column = tile % across() * tile_columns_;
        t.columns = std::min(tile_columns_, shape_.out_width() - t.first_column);
        t.first_row = row % down() * tile_rows_;
        t.rows = std::min(tile_rows_, shape_.out_height() - t.first_row);
        t.image = row / down();
        return t;
    }

    // What all tasks take one thread, roughly.
    double microseconds(double taps_per_microsecond) const {
        return shape_.batch * shape_.out_channels * shape_.out_pixels() * shape_.taps() / taps_per_microsecond;
    }

private:
    int64_t down() const { return divide_up(shape_.out_height(), tile_rows_); }
    int64_t across() const { return divide_up(shape_.out_width(), tile_columns_); }
    int64_t groups() const { return divide_up(shape_.out_channels, group_); }

    const AdderConv2dShape& shape_;
    int64_t tile_rows_, tile_columns_, group_;
};

}  // namespace adroit::cpu
