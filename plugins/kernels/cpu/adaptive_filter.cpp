#include "kernels/cpu/adaptive_filter.h"

#include <algorithm>

#include "kernels/cpu/adaptive_filter_tile.h"

namespace adroit::cpu {
namespace {

AdaptiveFilterVariant variant() { return ADROIT_VARIANT(adaptive_filter_variant); }

// Taps in a microsecond of one thread: rather fewer than the fastest CPUs do.
constexpr double kTapsPerMicrosecond = 15e3;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Whole rows where they are short; else columns in equal shares of whole vectors.
int64_t tile_columns_for(int64_t out_width, int64_t lanes) {
    if (out_width <= kMaxTileColumns) return out_width;
    const int64_t vectors = divide_up(out_width, lanes);
    return divide_up(vectors, divide_up(vectors, kMaxTileColumns / lanes)) * lanes;
}

// As many rows as the tile's buffers hold, in equal shares: rows that share a tile share what they
// read of X. An even number where possible, since 3 x 3 filters take rows by two.
int64_t tile_rows_for(const AdaptiveFilterShape& shape, int64_t columns, int64_t lanes) {
    const int64_t by_panel = kMaxPanelFloats / panel_row_floats(shape, columns, lanes) - shape.kernel_size;
    const int64_t most = std::min(kMaxTilePixels / (divide_up(columns, lanes) * lanes), by_panel / shape.stride + 1);
    if (most < 2) return 1;
    return divide_up(divide_up(shape.out_height(), divide_up(shape.out_height(), most / 2 * 2)), 2) * 2;
}

}  // namespace

AdaptiveFilterPlan plan_adaptive_filter(const AdaptiveFilterShape& shape) {
    const int64_t lanes = variant().lanes, columns = tile_columns_for(shape.out_width(), lanes);
    return {shape, tile_rows_for(shape, columns, lanes), columns};
}

void adaptive_filter(const AdaptiveFilterPlan& plan, const float* x, const float* logits, float* y,
                     const ParallelFor& parallel_for) {
    const AdaptiveFilterVariant kernel = variant();
    const AdaptiveFilterShape& shape = plan.shape;
    const int64_t rows = plan.tile_rows, columns = plan.tile_columns;
    const int64_t across = divide_up(shape.out_width(), columns), down = divide_up(shape.out_height(), rows);

    const int64_t outputs = shape.batch * shape.channels * shape.out_height() * shape.out_width();
    const double microseconds = outputs * shape.taps() / kTapsPerMicrosecond;

    parallel_for(shape.batch * down * across, microseconds, [&](int64_t index) {
        AdaptiveFilterTile tile;
        tile.image = index / across / down;
        tile.first_row = index / across % down * rows;
        tile.rows = std::min(rows, shape.out_height() - tile.first_row);
        tile.first_column = index % across * columns;
        tile.columns = std::min(columns, shape.out_width() - tile.first_column);
        kernel.run_tile(shape, x, logits, y, tile);
    });
}

}  // namespace adroit::cpu
