#include "kernels/cpu/adder_conv2d.h"

#include <algorithm>

#include "kernels/cpu/adder_conv2d_tile.h"

namespace adroit::cpu {
namespace {

AdderConv2dVariant variant() { return ADROIT_VARIANT(adder_conv2d_variant); }

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

PackedAdderWeights pack_adder_weights(const float* weights, int64_t out_channels, int64_t taps) {
    const int64_t block = variant().filter_block;
    PackedAdderWeights packed{std::vector<float>(divide_up(out_channels, block) * block * taps), out_channels, taps};
    for (int64_t m = 0; m < out_channels; ++m)
        for (int64_t k = 0; k < taps; ++k)
            packed.values[(m / block) * block * taps + k * block + m % block] = weights[m * taps + k];
    return packed;
}

void adder_conv2d(const AdderConv2dShape& shape, const float* x, const PackedAdderWeights& weights,
                  const AdderConv2dEpilogue& epilogue, float* y, const ParallelFor& parallel_for) {
    const AdderConv2dVariant kernel = variant();
    const int64_t pixels = shape.out_pixels();
    // Tiles of equal vector counts, so that the last one is not a sliver.
    const int64_t vectors = divide_up(pixels, kernel.lanes), most = kernel.max_tile_pixels / kernel.lanes;
    const int64_t tile_pixels = divide_up(vectors, divide_up(vectors, most)) * kernel.lanes;
    const int64_t tiles = divide_up(pixels, tile_pixels);
    const int64_t groups = divide_up(shape.out_channels, kFiltersPerTile);

    parallel_for(shape.batch * tiles * groups, [&](int64_t index) {
        AdderConv2dTile tile;
        const int64_t group = index % groups;
        tile.image = index / groups / tiles;
        tile.first_pixel = index / groups % tiles * tile_pixels;
        tile.pixels = std::min(tile_pixels, pixels - tile.first_pixel);
        tile.first_filter = group * kFiltersPerTile;
        tile.filters = std::min(kFiltersPerTile, shape.out_channels - tile.first_filter);
        kernel.run_tile(shape, x, weights.values.data(), epilogue, y, tile);
    });
}

}  // namespace adroit::cpu
