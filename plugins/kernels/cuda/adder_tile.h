// How a block of threads shares out a tile of filters x pixels.
//
// A tile's sums are held in registers, kThreadFilters x kThreadPixels of each thread. Where a map is
// too small to give every multiprocessor a tile, the tile is smaller and the taps are shared out over
// `Slices` groups of threads, whose sums are added at the end in a fixed order.
#pragma once

#include "kernels/cuda/divide.h"

namespace adroit::cuda {

// Words of taps that a slice takes in one step.
constexpr int kStepWords = 8;

template <int Filters, int Pixels, int ThreadFilters, int ThreadPixels, int Slices>
struct AdderTile {
    static constexpr int kFilters = Filters, kPixels = Pixels, kSlices = Slices;
    static constexpr int kThreadFilters = ThreadFilters, kThreadPixels = ThreadPixels;
    static constexpr int kPixelThreads = Pixels / ThreadPixels;
    static constexpr int kSliceThreads = Filters / ThreadFilters * kPixelThreads;
    static constexpr int kThreads = kSliceThreads * Slices;
    static constexpr int kSums = ThreadFilters * ThreadPixels;

    // Shared memory of a slice, in words: [step][filter] then [step][pixel]. Four words more a row keep
    // the transposing stores of weights off each other's banks, and quads aligned.
    static constexpr int kWeightRow = Filters + 4;
    static constexpr int kWeightWords = kStepWords * kWeightRow;
    static constexpr int kStageWords = kWeightWords + kStepWords * Pixels;

    // Chunks of 4 words of weights, and words of X, that a thread fetches in a step.
    static constexpr int kWeightChunks = Filters * kStepWords / 4 / kSliceThreads;
    static constexpr int kInputWords = Pixels * kStepWords / kSliceThreads;
    static constexpr int kInputRows = kSliceThreads / Pixels;  // rows of [step][pixel] fetched side by side

    static_assert(ThreadFilters % 4 == 0 && ThreadPixels % 4 == 0, "sums are read and written in quads");
    static_assert(kWeightChunks * kSliceThreads * 4 == Filters * kStepWords, "threads share the weights evenly");
    static_assert(kInputRows >= 1 && kInputRows * Pixels == kSliceThreads, "threads share the pixels evenly");

    // The filter and pixel of the tile that a thread's sum [i][j] belongs to. Quads of neighboring threads
    // are neighbors: reads of shared memory meet no bank twice, and writes of Y are whole lines.
    ADROIT_HOST_DEVICE static int filter(int thread, int i) {
        return i / 4 * (Filters / (ThreadFilters / 4)) + thread / kPixelThreads * 4 + i % 4;
    }
    ADROIT_HOST_DEVICE static int pixel(int thread, int j) {
        return j / 4 * (Pixels / (ThreadPixels / 4)) + thread % kPixelThreads * 4 + j % 4;
    }
};

using LargeAdderTile = AdderTile<128, 128, 8, 8, 1>;
using MediumAdderTile = AdderTile<64, 64, 8, 4, 2>;
using SmallAdderTile = AdderTile<32, 32, 8, 4, 8>;
using TinyAdderTile = AdderTile<16, 32, 4, 4, 8>;

enum class AdderTileKind { kLarge, kMedium, kSmall, kTiny };

// The tile that should finish first, by a model: multiprocessors work off their tiles at one speed, and
// a smaller register block reads more shared memory a tap.
inline AdderTileKind choose_adder_tile(int64_t filters, int64_t pixels, int multiprocessors) {
    struct Candidate {
        AdderTileKind kind;
        int64_t filters, pixels;
        double cost;  // of a tap, against the large tile's
    };
    constexpr Candidate candidates[] = {
        {AdderTileKind::kLarge, LargeAdderTile::kFilters, LargeAdderTile::kPixels, 1.0},
        {AdderTileKind::kMedium, MediumAdderTile::kFilters, MediumAdderTile::kPixels, 1.15},
        {AdderTileKind::kSmall, SmallAdderTile::kFilters, SmallAdderTile::kPixels, 1.25},
        {AdderTileKind::kTiny, TinyAdderTile::kFilters, TinyAdderTile::kPixels, 1.6}};
    AdderTileKind best = AdderTileKind::kLarge;
    double least = 0.0;
    for (const Candidate& c : candidates) {
        const int64_t tiles = divide_up(filters, c.filters) * divide_up(pixels, c.pixels);
        const double time = static_cast<double>(divide_up(tiles, multiprocessors) * c.filters * c.pixels) * c.cost;
        if (c.kind == AdderTileKind::kLarge || time < least) best = c.kind, least = time;
    }
    return best;
}

}  // namespace adroit::cuda
