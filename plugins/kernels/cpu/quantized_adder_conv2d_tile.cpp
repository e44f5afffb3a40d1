// Compiled once per instruction set (see vector.h). A register block of filters x vectors of outputs
// runs over the panel of a tile; one step is a load per vector, a broadcast per filter, and for each
// pair a sum of absolute differences and an addition of 16-bit counts, which are moved to 32 bits
// before they can overflow.
#include "kernels/cpu/quantized_adder_conv2d_tile.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/byte_vector.h"
#include "kernels/cpu/quantized_adder_epilogue.h"
#include "kernels/cpu/quantized_adder_panel.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {
namespace {

#if defined(__AVX512F__)
constexpr int kFilters = 8, kVectors = 3;
#else
constexpr int kFilters = 4, kVectors = 2;
#endif

// Weights of large layers come from the third-level cache: prefetched this far ahead of their use.
constexpr int64_t kPrefetchBytes = 4096;

// The two kinds of step. kSteps: how many the counts hold; put: what becomes of the counts of so many.
// Windows is a template so that it is not compiled where `Bytes` has none.
template <typename ByteVector, bool Saturating>
struct Windows {
    static constexpr int64_t kGroup = 4, kPixels = ByteVector::kBytes / 2, kSteps = 65535 / (4 * 255);
    using Put = uint16_t;
    static constexpr int64_t put_step(int vectors) { return vectors * kPixels; }
    static ByteVector broadcast(const uint8_t* w) { return ByteVector::broadcast4(w); }
    static ByteVector difference(ByteVector x, ByteVector w) { return difference_windows(x, w); }
    static ByteVector count(ByteVector counts, ByteVector more) {
        return Saturating ? add16_saturating(counts, more) : add16(counts, more);
    }
    static void put(ByteVector counts, const uint32_t* /*initial*/, Put* out) { counts.store(out); }
};

// A count has 64 bits. The saturating addition uses 16 of them; the other one is not faster for using less than 32.
template <bool Saturating>
struct Channels {
    static constexpr int64_t kGroup = 8, kPixels = Bytes::kBytes / 8;
    static constexpr int64_t kSteps = Saturating ? 65535 / (8 * 255) : kMaxQuantizedTaps;
    using Put = uint32_t;
    static constexpr int64_t put_step(int /*vectors*/) { return kTileRun; }
    static Bytes broadcast(const uint8_t* w) { return Bytes::broadcast8(w); }
    static Bytes difference(Bytes x, Bytes w) { return difference8(x, w); }
    static Bytes count(Bytes counts, Bytes more) {
        return Saturating ? add16_saturating(counts, more) : add32(counts, more);
    }
    static void put(Bytes counts, const uint32_t* initial, Put* sums) {
        add_longs(counts, initial ? initial : sums, sums);
    }
};

// The counts of a register block over `steps` steps, put into `out`, Step::put_step from filter to filter. initial:
// what Channels adds them to, null for what is there. Not inlined: what is around it would make GCC 12 keep the block
// in memory. Unrolled: the end of so short a loop is mispredicted.
template <typename Step, int Vectors>
__attribute__((noinline)) void count_steps(const int64_t* offsets, int64_t steps, const uint8_t* panel,
                                           const uint8_t* weights, const uint32_t* initial, typename Step::Put* out) {
    Bytes counts[kFilters][Vectors];
    for (auto& row : counts)
        for (auto& value : row) value = Bytes::zero();
#pragma GCC unroll 4
    for (int64_t step = 0; step < steps; ++step, weights += kFilters * Step::kGroup) {
        const uint8_t* cells = panel + offsets[step];
        __builtin_prefetch(weights + kPrefetchBytes);
        Bytes x[Vectors];
        for (int v = 0; v < Vectors; ++v) x[v] = Bytes::load(cells + v * Bytes::kBytes);
        for (int m = 0; m < kFilters; ++m) {
            const Bytes w = Step::broadcast(weights + m * Step::kGroup);
            for (int v = 0; v < Vectors; ++v) counts[m][v] = Step::count(counts[m][v], Step::difference(x[v], w));
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < kFilters; ++m)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) {
            const int64_t at = v * Step::kPixels;
            Step::put(counts[m][v], initial ? initial + at : nullptr, out + m * Step::put_step(Vectors) + at);
        }
}

// Chunks of steps whose 16-bit counts are kept, before all of them are added to the sums at once.
constexpr int kChunks = 4;

// sums[filter * kTileRun + pixel] = before[filter * before_step + pixel] + the counts of `chunks` chunks.
template <int64_t Pixels>
void add_chunks(const uint16_t (&counts)[kChunks][kFilters * Pixels], int chunks, const uint32_t* before,
                int64_t before_step, uint32_t* sums) {
    constexpr int64_t lanes = Bytes::kBytes / 4;
    for (int m = 0; m < kFilters; ++m, before += before_step, sums += kTileRun)
        for (int64_t i = 0; i < Pixels; i += lanes) {
            Bytes sum = Bytes::load(before + i);
            for (int k = 0; k < chunks; ++k) sum = add32(sum, Bytes::load_words(counts[k] + m * Pixels + i));
            sum.store(sums + i);
        }
}

// sums[filter * kTileRun + pixel] = initial[pixel] + the sums of absolute differences of a register block.
template <typename Step, int Vectors>
void accumulate(const QuantizedAdderPlan& plan, const uint8_t* panel, const uint8_t* weights, const uint32_t* initial,
                uint32_t* sums) {
    int64_t step = 0;
    const auto count_chunk = [&](typename Step::Put* out) {
        const int64_t steps = std::min(plan.steps() - step, Step::kSteps);
        count_steps<Step, Vectors>(plan.offsets.data() + step, steps, panel, weights + step * kFilters * Step::kGroup,
                                   step == 0 ? initial : nullptr, out);
        step += steps;
    };
    while (step < plan.steps()) {
        if constexpr (std::is_same_v<typename Step::Put, uint32_t>) {
            count_chunk(sums);
        } else {
            constexpr int64_t pixels = Step::put_step(Vectors);
            alignas(64) uint16_t counts[kChunks][kFilters * pixels];
            const bool first = step == 0;
            int chunks = 0;
            while (chunks < kChunks && step < plan.steps()) count_chunk(counts[chunks++]);
            add_chunks<pixels>(counts, chunks, first ? initial : sums, first ? 0 : kTileRun, sums);
        }
    }
}

template <typename Step>
void accumulate_tile(const QuantizedAdderPlan& plan, int64_t pixels, const uint8_t* panel, const uint8_t* weights,
                     const uint32_t* initial, uint32_t* sums) {
    // Equal shares, so that the last block is not a sliver.
    for (int64_t left = (pixels + Step::kPixels - 1) / Step::kPixels; left > 0;) {
        const int64_t blocks = (left + kVectors - 1) / kVectors, vectors = (left + blocks - 1) / blocks;
        if (vectors == 1)
            accumulate<Step, 1>(plan, panel, weights, initial, sums);
        else if (vectors == 2 || kVectors == 2)
            accumulate<Step, 2>(plan, panel, weights, initial, sums);
        else
            accumulate<Step, kVectors>(plan, panel, weights, initial, sums);
        left -= vectors;
        panel += vectors * Bytes::kBytes;
        initial += vectors * Step::kPixels;
        sums += vectors * Step::kPixels;
    }
}

// What the sums start from: unsigned numbers wrap, so that is below 0 by what the fourth tap of windows,
// whose weight is 0, adds: the sum of X there, over channels first and then over the kernel's rows.
template <typename ByteVector>
void subtract_fourth_taps(const QuantizedAdderPlan& plan, int64_t kernel_height, int64_t pixels,
                          const QuantizedAdderPanel& panel) {
    constexpr int64_t kChannels = 65535 / 255;  // so many bytes a 16-bit count holds
    const int64_t channel_bytes = plan.phases_down * plan.plane_bytes();
    std::fill_n(panel.fourth_by_cell, channel_bytes / 2 + ByteVector::kBytes, 0);
    for (int64_t at = 0; at < channel_bytes; at += ByteVector::kBytes)
        for (int64_t first = 0; first < plan.blocks; first += kChannels) {
            ByteVector counts = ByteVector::zero();
            const int64_t end = std::min(plan.blocks, first + kChannels);
            for (int64_t c = first; c < end; ++c)
                counts = add16(counts, fourth_of_windows(ByteVector::load(panel.cells + c * channel_bytes + at)));
            uint32_t* by_cell = panel.fourth_by_cell + at / 2;
            uint16_t words[ByteVector::kBytes / 2];
            counts.store(words);
            for (int64_t i = 0; i < ByteVector::kBytes / 2; ++i) by_cell[i] += words[i];
        }
    for (int64_t kh = 0; kh < kernel_height; ++kh)
        for (int64_t i = 0; i < pixels; ++i) panel.initial[i] -= panel.fourth_by_cell[plan.offsets[kh] / 2 + i];
}

TileRows rows_of(const QuantizedAdderCall& call, const AdderTile& tile) {
    const int64_t width = call.shape.out_width();
    return {tile.rows, tile.columns, call.plan.pitch(), tile.first_row * width + tile.first_column, width};
}

template <typename ByteVector>
void pack_tile(const QuantizedAdderCall& call, const AdderTile& tile, const QuantizedAdderPanel& panel) {
    pack_panel(call, tile, panel.cells);
    std::fill_n(panel.initial, kTileRun, 0);
    if constexpr (ByteVector::kHasWindows)
        if (call.plan.windows && call.shape.kernel_width == 3)
            subtract_fourth_taps<ByteVector>(call.plan, call.shape.kernel_height, rows_of(call, tile).pixels(), panel);
}

template <typename ByteVector, bool Saturating>
void run_tile(const QuantizedAdderCall& call, const AdderTile& tile, const QuantizedAdderPanel& panel) {
    alignas(64) uint32_t sums[kFilters * kTileRun];
    using ChannelStep = Channels<Saturating>;
    const QuantizedAdderPlan& plan = call.plan;
    const TileRows rows = rows_of(call, tile);
    const auto finish = call.x.is_signed ? finish_filter<int8_t> : finish_filter<uint8_t>;
    const int64_t block_bytes = plan.steps() * kFilters * (plan.windows ? 4 : ChannelStep::kGroup);
    for (int64_t m = 0; m < tile.filters; m += kFilters) {
        const uint8_t* weights = call.weights + (tile.first_filter + m) / kFilters * block_bytes;
        if constexpr (ByteVector::kHasWindows)
            if (plan.windows)
                accumulate_tile<Windows<ByteVector, Saturating>>(plan, rows.pixels(), panel.cells, weights,
                                                                 panel.initial, sums);
        if (!plan.windows) accumulate_tile<ChannelStep>(plan, rows.pixels(), panel.cells, weights, panel.initial, sums);
        for (int64_t filter = m; filter < std::min(m + kFilters, tile.filters); ++filter) {
            const int64_t index = tile.first_filter + filter;
            const int64_t plane = (tile.image * call.shape.out_channels + index) * call.shape.out_pixels();
            finish(call.epilogue, rows, sums + (filter - m) * kTileRun, index, plane, call.y);
        }
    }
}

}  // namespace

QuantizedAdderVariant quantized_adder_conv2d_variant() {
    return {kFilters, Bytes::kHasWindows, Bytes::windows_are_fast(), pack_tile<Bytes>,
            saturating_add_is_fast() ? run_tile<Bytes, true> : run_tile<Bytes, false>};
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
