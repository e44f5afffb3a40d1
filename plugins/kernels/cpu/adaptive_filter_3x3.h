// The weighted sums of 3 x 3 filters straight from X, for tiles at least a vector wide: the usual
// case, made fast. Included by adaptive_filter_tile.cpp, once per instruction set.
//
// For a vector of pixels in each of two neighboring rows, the 2 x 9 weights stay in registers while
// all channels of the group pass: a channel costs the loads of the 4 or 5 rows of X that the two
// rows of output share. A row is loaded once; the taps to the left and right are that vector moved by
// a lane, with the one pixel that enters loaded on its own. At the border that pixel is the reflected
// one: reflection is an address. The last vector of a row ends where the tile does and computes some
// pixels a second time, so that there are no partial vectors.
#pragma once

#include <algorithm>

#include "kernels/cpu/adaptive_filter_tile.h"
#include "kernels/cpu/vector_math.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {

// With stride 2 and an odd width the last vector would read past its row. With stride 1 and four
// lanes the panel is faster: a vector moved by a lane then costs more than one loaded.
inline bool fits_3x3(const AdaptiveFilterShape& s, const AdaptiveFilterTile& tile) {
    if (s.kernel_size != 3 || tile.columns < Vector::kLanes) return false;
    return s.stride == 1 ? Vector::kLanes > 4 : s.width % 2 == 0;
}

// Where a vector of pixels finds its taps in a row of X, relative to its first pixel's own column:
// the pixel that enters on the left, and on the right (with stride 2 none enters there).
struct Entering {
    int64_t left, right;
};

// One row's three taps for a vector of pixels.
template <int Stride>
struct Taps {
    Vector at[3];

    Taps(const float* x, const Entering& entering) {
        const Vector left = Vector::broadcast(x[entering.left]);
        if constexpr (Stride == 1) {
            at[1] = Vector::load(x);
            at[0] = enter_first(at[1], left);
            at[2] = enter_last(at[1], Vector::broadcast(x[entering.right]));
        } else {
            const Vector low = Vector::load(x), high = Vector::load(x + Vector::kLanes);
            at[1] = even_lanes(low, high);
            at[2] = odd_lanes(low, high);
            at[0] = enter_first(at[2], left);
        }
    }
};

// A vector of pixels in `Rows` rows: its weights, and X's rows for it in the group's first channel.
template <int Stride, int Rows>
struct Block {
    static constexpr int kRowsOfX = (Rows - 1) * Stride + 3;
    const float *weights, *factors;
    const float* rows[kRowsOfX];
    Entering entering;
};

// y = the weighted sums of all channels of the group.
template <int Stride, int Rows>
void filter_block(const AdaptiveFilterShape& s, const Weights& weights, const Block<Stride, Rows>& block, float* y) {
    const int64_t x_plane = s.height * s.width, y_row = s.out_width(), y_plane = s.out_height() * y_row;
    const Entering entering = block.entering;
    constexpr int kNewRows = Rows * Stride;  // rows of X that the next rows of output do not share with these
    const int64_t ahead = kNewRows * s.width;
    Vector weight[Rows][9];
    for (int r = 0; r < Rows; ++r)
        for (int t = 0; t < 9; ++t)
            weight[r][t] = Vector::load(block.weights + r * weights.row_step + t * weights.tap_step) *
                           Vector::load(block.factors + r * weights.row_step);

    for (int64_t c = 0; c < s.channels / s.groups; ++c, y += y_plane) {
        Vector sum[Rows];
        for (auto& value : sum) value = Vector::broadcast(0.0f);
        for (int i = 0; i < Block<Stride, Rows>::kRowsOfX; ++i) {
            const float* x = block.rows[i] + c * x_plane;
            const Taps<Stride> taps(x, entering);
            if (i >= Block<Stride, Rows>::kRowsOfX - kNewRows) prefetch(x + ahead, Stride * Vector::kLanes);
            for (int r = 0; r < Rows; ++r) {
                const int kh = i - r * Stride;
                if (kh < 0 || kh > 2) continue;
                for (int kw = 0; kw < 3; ++kw) sum[r] = multiply_add(weight[r][kh * 3 + kw], taps.at[kw], sum[r]);
            }
        }
        for (int r = 0; r < Rows; ++r) sum[r].store(y + r * y_row);
    }
}

// `Rows` rows of the tile from row `row`, all channels of a group. x, y: the group's first planes.
template <int Stride, int Rows>
void filter_rows(const AdaptiveFilterShape& s, const AdaptiveFilterTile& tile, int64_t row, const Weights& weights,
                 const float* x, float* y) {
    constexpr int64_t lanes = Vector::kLanes;
    const int64_t out_width = s.out_width();
    Block<Stride, Rows> block;
    for (int64_t done = 0; done < tile.columns; done += lanes) {
        const int64_t column = std::min(done, tile.columns - lanes), in_plane = tile.first_column + column;
        block.weights = weights.values + row * weights.row_step + column;
        block.factors = weights.factors + row * weights.row_step + column;
        block.entering.left = in_plane == 0 ? 1 : -1;
        block.entering.right = in_plane + lanes == out_width ? lanes - 2 : lanes;
        for (int i = 0; i < Block<Stride, Rows>::kRowsOfX; ++i) {
            const int64_t row_of_x = reflect((tile.first_row + row) * Stride - 1 + i, s.height);
            block.rows[i] = x + row_of_x * s.width + in_plane * Stride;
        }
        filter_block(s, weights, block, y + row * out_width + column);
    }
}

// The whole tile, all channels of a group. x: the group's first plane; y: the tile's first pixel there.
template <int Stride>
void filter_3x3(const AdaptiveFilterShape& s, const AdaptiveFilterTile& tile, const Weights& weights, const float* x,
                float* y) {
    int64_t row = 0;
    for (; row + 2 <= tile.rows; row += 2) filter_rows<Stride, 2>(s, tile, row, weights, x, y);
    if (row < tile.rows) filter_rows<Stride, 1>(s, tile, row, weights, x, y);
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
