// Compiled once per instruction set (see vector.h). The sum is a matrix product in which |x - w| stands for
// x * w: a register block of filters x vectors of pixels runs over the panel of a tile.
//
// Two forms of the same sum:
//   differences  sum |x - w|                               three operations a tap
//   maxima       2 sum max(x, w) - sum x - sum w           two, where no x is negative (as behind a ReLU)
// Maxima lose bits where their sum is much larger than the sum of differences: data far from 0 compared with
// its spread. So every sum must be at least plan.least_share of its maxima, or its block is summed again by
// differences, and with it the rest of the tile.
#include "kernels/cpu/adder_conv2d_tile.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/cpu/adder_conv2d_panel.h"
#include "kernels/cpu/vector_math.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {
namespace {

// Register block: filters x vectors accumulators, the pixel vectors, one weight, one term.
#if defined(__AVX512F__)
constexpr int kFilters = 4, kVectors = 6;
#else
constexpr int kFilters = 4, kVectors = 2;
#endif
constexpr int64_t kLanes = Vector::kLanes;
// Weights of large layers come from the third-level cache: prefetched this many floats ahead of their use.
constexpr int64_t kPrefetch = 512;
constexpr int64_t kRun = kMaxAdderRun + kAdderSlack;

struct Differences {
    static Vector term(Vector x, Vector w) { return absolute(x - w); }
};

// A template so that it is not compiled where `Vector` has no such maximum.
template <typename AnyVector>
struct Maxima {
    static AnyVector term(AnyVector x, AnyVector w) { return maximum_of_bits(x, w); }
};

// sums[filter * kRun + pixel] = the sum of one register block's terms. Closed sums are added to those
// before: a sum that is closed every so many terms loses fewer bits than one running sum.
template <typename Form, int Vectors>
void accumulate(const AdderConv2dCall& call, const float* panel, const float* weights, float* sums) {
    const AdderConv2dPlan& plan = call.plan;
    const int64_t channels = call.shape.in_channels, taps = static_cast<int64_t>(plan.window.size());
    const int64_t* window = plan.window.data();
    for (int64_t first = 0; first < channels; first += plan.channels_per_pass) {
        Vector total[kFilters][Vectors];
        for (auto& row : total)
            for (auto& value : row) value = Vector::broadcast(0.0f);
        const int64_t end = std::min(channels, first + plan.channels_per_pass);
        for (int64_t c = first; c < end; ++c, panel += plan.channel_floats)
            for (int64_t t = 0; t < taps; ++t, weights += kFilters) {
                __builtin_prefetch(weights + kPrefetch);
                Vector x[Vectors];
                for (int v = 0; v < Vectors; ++v) x[v] = Vector::load(panel + window[t] + v * kLanes);
                for (int m = 0; m < kFilters; ++m) {
                    const Vector w = Vector::broadcast(weights[m]);
                    for (int v = 0; v < Vectors; ++v) total[m][v] = total[m][v] + Form::term(x[v], w);
                }
            }
        for (int m = 0; m < kFilters; ++m)
            for (int v = 0; v < Vectors; ++v) {
                float* sum = sums + m * kRun + v * kLanes;
                (first == 0 ? total[m][v] : Vector::load(sum) + total[m][v]).store(sum);
            }
    }
}

using Accumulate = void (*)(const AdderConv2dCall&, const float*, const float*, float*);

template <typename Form, int... Less>
constexpr std::array<Accumulate, sizeof...(Less)> accumulate_table(std::integer_sequence<int, Less...>) {
    return {accumulate<Form, Less + 1>...};
}

template <typename Form>
void accumulate_vectors(const AdderConv2dCall& call, int64_t vectors, const float* panel, const float* weights,
                        float* sums) {
    constexpr auto of_vectors = accumulate_table<Form>(std::make_integer_sequence<int, kVectors>());
    of_vectors[vectors - 1](call, panel, weights, sums);
}

// Turns sums of maxima into sums of differences; returns whether all of them can be trusted.
template <typename AnyVector>
bool subtract_sums(const AdderConv2dPlan& plan, int64_t vectors, const float* x_sums, const float* w_sums,
                   float* sums) {
    const AnyVector least = AnyVector::broadcast(plan.least_share);
    bool trusted = true;
    for (int m = 0; m < kFilters; ++m)
        for (int64_t v = 0; v < vectors; ++v) {
            float* at = sums + m * kRun + v * kLanes;
            const AnyVector maxima = AnyVector::load(at);
            const AnyVector both = AnyVector::load(x_sums + v * kLanes) + AnyVector::broadcast(w_sums[m]);
            const AnyVector sum = (maxima + maxima) - both;
            sum.store(at);
            trusted = trusted && !any_below(sum, least * maxima);
        }
    return trusted;
}

// All pixels of a block of filters. Returns whether maxima may still be taken for the rest of the tile.
template <typename AnyVector>
bool sum_block(const AdderConv2dCall& call, int64_t run, const AdderConv2dPanel& panel, int64_t filter, bool by_maxima,
               float* sums) {
    const float* weights = call.weights.values.data() + filter * call.weights.taps;
    // Equal shares, so that the last block is not a sliver.
    for (int64_t left = (run + kLanes - 1) / kLanes, at = 0; left > 0;) {
        const int64_t blocks = (left + kVectors - 1) / kVectors, vectors = (left + blocks - 1) / blocks;
        if constexpr (AnyVector::kHasMaximumOfBits)
            if (by_maxima) {
                accumulate_vectors<Maxima<AnyVector>>(call, vectors, panel.values + at, weights, sums + at);
                by_maxima = subtract_sums<AnyVector>(call.plan, vectors, panel.sums + at,
                                                     call.weights.sums.data() + filter, sums + at);
            }
        if (!by_maxima) accumulate_vectors<Differences>(call, vectors, panel.values + at, weights, sums + at);
        left -= vectors;
        at += vectors * kLanes;
    }
    return by_maxima;
}

// One filter's outputs of a tile.
void finish_filter(const AdderConv2dCall& call, const AdderTile& tile, int64_t filter, const float* sums) {
    const AdderConv2dEpilogue& e = call.epilogue;
    const int64_t width = call.shape.out_width();
    const float scale = e.scale[filter], shift = e.shift[filter];
    for (int64_t r = 0; r < tile.rows; ++r, sums += call.plan.pitch) {
        const int64_t offset = (tile.image * call.shape.out_channels + filter) * call.shape.out_pixels() +
                               (tile.first_row + r) * width + tile.first_column;
        float* y = call.y + offset;
        if (e.residual)
            for (int64_t i = 0; i < tile.columns; ++i) y[i] = (shift - scale * sums[i]) + e.residual[offset + i];
        else
            for (int64_t i = 0; i < tile.columns; ++i) y[i] = shift - scale * sums[i];
        // A comparison that is false for NaN keeps NaN, as the frameworks' ReLU does.
        if (e.relu)
            for (int64_t i = 0; i < tile.columns; ++i) y[i] = y[i] < 0.0f ? 0.0f : y[i];
    }
}

void run_tile(const AdderConv2dCall& call, const AdderTile& tile, const AdderConv2dPanel& panel) {
    alignas(64) float sums[kFilters * kRun];
    const int64_t run = (tile.rows - 1) * call.plan.pitch + tile.columns;
    bool by_maxima = panel.may_take_maxima;
    for (int64_t m = 0; m < tile.filters; m += kFilters) {
        by_maxima = sum_block<Vector>(call, run, panel, tile.first_filter + m, by_maxima, sums);
        for (int64_t i = m; i < std::min(m + kFilters, tile.filters); ++i)
            finish_filter(call, tile, tile.first_filter + i, sums + (i - m) * kRun);
    }
}

}  // namespace

AdderConv2dVariant adder_conv2d_variant() { return {kFilters, pack_tile, run_tile}; }

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
