#include "plan_tests.h"

#include "../../kernel_tests.h"
#include "emulator.h"
#include "kernels/cuda/adder_geometry.h"
#include "kernels/cuda/adder_tile.h"
#include "kernels/cuda/routing_gate_plan.h"

namespace adroit::tests {
namespace {

bool divisions_are_right() {
    for (int i = 0; i < 20000; ++i) {
        const int divisor = static_cast<int>(i < 200 ? i + 1 : pick(1, int64_t{1} << pick(1, 30)));
        const cuda::FastDivider by(divisor);
        const int near = static_cast<int>(divisor * pick(0, ((int64_t{1} << 31) - 1) / divisor));
        for (const int n :
             {0, 1, divisor - 1, divisor, near, near - (near > 0), INT32_MAX, static_cast<int>(pick(0, INT32_MAX))})
            if (by.divide(n) != n / divisor) return std::printf("%d / %d is not %d\n", n, divisor, by.divide(n)), false;
    }
    return true;
}

// Each thread of a tile has sums of its own, and together they are the tile.
template <typename Tile>
bool tile_is_covered() {
    std::vector<int> count(Tile::kFilters * Tile::kPixels);
    for (int thread = 0; thread < Tile::kSliceThreads; ++thread)
        for (int i = 0; i < Tile::kThreadFilters; ++i)
            for (int j = 0; j < Tile::kThreadPixels; ++j)
                ++count[Tile::filter(thread, i) * Tile::kPixels + Tile::pixel(thread, j)];
    for (int c : count)
        if (c != 1) return std::printf("a tile of %d x %d is not covered\n", Tile::kFilters, Tile::kPixels), false;
    return true;
}

// On a device of 132 multiprocessors: the last layers of a ResNet-18 for one image, its first for 64.
bool tiles_are_chosen() {
    using cuda::AdderTileKind;
    const bool right = cuda::choose_adder_tile(512, 49, 132) == AdderTileKind::kTiny &&
                       cuda::choose_adder_tile(64, 64 * 56 * 56, 132) == AdderTileKind::kMedium &&
                       cuda::choose_adder_tile(128, 64 * 28 * 28, 132) == AdderTileKind::kLarge;
    return right || (std::printf("a tile was chosen that cannot be the fastest\n"), false);
}

// Beyond 2^31 elements, where 32-bit indices would have wrapped.
bool far_indices_are_right() {
    const AdderConv2dShape s{3, 5, 40000, 30000, 7, 3, 3, 1, 1, 1, 1, 1, 1};
    const cuda::AdderGeometry g(s);
    const int64_t row = 39999, column = 29998, image = 2, place = row * s.width + column;
    const cuda::Window w = g.window_of(image * s.out_pixels() + place);
    const cuda::Tap tap = g.tap_at(4 * 9 + 1 * 3 + 2);  // channel 4, row 1, column 2
    const int64_t expected = (image * 5 + 4) * s.height * s.width + row * s.width + column + 1;
    const bool right =
        w.row == row - 1 && w.column == column - 1 && w.offset + tap.offset == expected &&
        g.is_inside(w.row, w.column, tap) && !g.is_inside(w.row, w.column, g.tap_at(2 * 3)) &&
        g.output(g.pixel_at(image * s.out_pixels() + place), 6) == (image * 7 + 6) * s.out_pixels() + place;
    return right || (std::printf("an index beyond 2^31 is wrong\n"), false);
}

}  // namespace

bool plans_are_right() {
    return divisions_are_right() && tile_is_covered<cuda::LargeAdderTile>() &&
           tile_is_covered<cuda::MediumAdderTile>() && tile_is_covered<cuda::SmallAdderTile>() &&
           tile_is_covered<cuda::TinyAdderTile>() && tiles_are_chosen() && far_indices_are_right();
}

}  // namespace adroit::tests
