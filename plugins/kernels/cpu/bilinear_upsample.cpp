#include "kernels/cpu/bilinear_upsample.h"

#include <algorithm>

#include "kernels/cpu/bilinear_upsample_tile.h"

namespace adroit::cpu {
namespace {

BilinearUpsampleVariant variant() { return ADROIT_VARIANT(bilinear_upsample_variant); }

// Outputs in a microsecond of one thread: rather fewer than the fastest CPUs do.
constexpr double kOutputsPerMicrosecond = 3e3;
// A tile widens two rows of X more than its own, which tiles of few rows would feel.
constexpr int64_t kTileRows = 64;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void bilinear_upsample(const BilinearUpsampleShape& shape, const float* x, float* y, const ParallelFor& parallel_for) {
    const BilinearUpsampleVariant kernel = variant();
    const int64_t columns = kMaxUpsampledColumns / shape.factor;
    const int64_t across = divide_up(shape.width, columns), down = divide_up(shape.height, kTileRows);
    const double outputs = static_cast<double>(shape.planes) * shape.out_height() * shape.out_width();
    parallel_for(shape.planes * down * across, outputs / kOutputsPerMicrosecond, [&](int64_t index) {
        BilinearUpsampleTile tile;
        tile.plane = index / across / down;
        tile.first_row = index / across % down * kTileRows;
        tile.rows = std::min(kTileRows, shape.height - tile.first_row);
        tile.first_column = index % across * columns;
        tile.columns = std::min(columns, shape.width - tile.first_column);
        kernel.run_tile(shape, x, y, tile);
    });
}

}  // namespace adroit::cpu
