// Compiled once per instruction set (see vector.h). A small matrix product W1 * X over a tile of
// positions, whose ReLU and sum over positions are taken while the products are still in the cache.
// Columns of X are copied into a panel [channels][positions] first: the planes of X often lie a power
// of two apart, and reading them in place would throw each other out of the cache.
#include "kernels/cpu/routing_gate_tile.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/vector.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {
namespace {

// Register block: hidden channels x vectors accumulators.
#if defined(__AVX512F__)
constexpr int kHidden = 8, kVectors = 3;
#else
constexpr int kHidden = 4, kVectors = 2;
#endif
constexpr int64_t kPositions = int64_t{kVectors} * Vector::kLanes;
// Channels per pass: panel and weights of a pass stay in the first-level cache, and a sum that is
// closed every so many terms loses fewer bits than one running sum.
constexpr int64_t kChannels = 128;

// One row of the panel: a channel's values at the tile's positions.
void gather_channel(const RoutingGateShape& s, const float* plane, const RoutingGateTile& tile, float* row) {
    if (s.shrink == 1) {
        std::memcpy(row, plane + tile.first_position, sizeof(float) * tile.positions);
        return;
    }
    const int64_t columns = s.columns();
    int64_t y = tile.first_position / columns, x = tile.first_position % columns;
    for (int64_t done = 0; done < tile.positions; ++y, x = 0) {
        const int64_t run = std::min(columns - x, tile.positions - done);
        const float* upper = plane + (4 * y + 1) * s.width + 4 * x + 1;
        const float* lower = upper + s.width;
        for (int64_t i = 0; i < run; ++i)
            row[done + i] = 0.25f * ((upper[4 * i] + upper[4 * i + 1]) + (lower[4 * i] + lower[4 * i + 1]));
        done += run;
    }
}

// products[hidden][position] += sum over a pass's channels of weight * panel, for one register block.
void multiply_block(const float* panel, const float* weights, int64_t channels, float* products) {
    Vector total[kHidden][kVectors];
    for (auto& row : total)
        for (auto& value : row) value = Vector::broadcast(0.0f);
    for (int64_t c = 0; c < channels; ++c, panel += kPositions, weights += kHidden) {
        Vector x[kVectors];
        for (int v = 0; v < kVectors; ++v) x[v] = Vector::load(panel + v * Vector::kLanes);
        for (int h = 0; h < kHidden; ++h) {
            const Vector w = Vector::broadcast(weights[h]);
            for (int v = 0; v < kVectors; ++v) total[h][v] = total[h][v] + w * x[v];
        }
    }
    for (int h = 0; h < kHidden; ++h)
        for (int v = 0; v < kVectors; ++v) {
            float* product = products + h * kPositions + v * Vector::kLanes;
            (Vector::load(product) + total[h][v]).store(product);
        }
}

// Sum over positions of max(0, product + bias). The lanes past the tile's positions do not count.
float rectified_sum(const float* products, float bias, int64_t positions) {
    const Vector zero = Vector::broadcast(0.0f), offset = Vector::broadcast(bias);
    Vector total = zero;
    int64_t i = 0;
    // maximum(zero, v) gives v where v is NaN, on all instruction sets.
    for (; i + Vector::kLanes <= positions; i += Vector::kLanes)
        total = total + maximum(zero, Vector::load(products + i) + offset);
    float lanes[Vector::kLanes], sum = 0.0f;
    total.store(lanes);
    for (; i < positions; ++i) {
        const float value = products[i] + bias;
        sum += value < 0.0f ? 0.0f : value;
    }
    for (float lane : lanes) sum += lane;
    return sum;
}

void add_tile(const RoutingGateShape& s, const float* x, const float* packed_w1, const float* b1,
              const RoutingGateTile& tile, float* totals) {
    alignas(64) float panel[kChannels * kPositions];
    alignas(64) float products[kHiddenPerTile * kPositions];
    const int64_t plane = s.height * s.width;
    std::fill_n(products, kHiddenPerTile * kPositions, 0.0f);
    // Lanes past the tile's positions are read by the vector loop: give them a defined value.
    if (tile.positions < kPositions) std::fill_n(panel, kChannels * kPositions, 0.0f);

    for (int64_t first = 0; first < s.channels; first += kChannels) {
        const int64_t count = std::min(kChannels, s.channels - first);
        for (int64_t c = 0; c < count; ++c)
            gather_channel(s, x + (tile.image * s.channels + first + c) * plane, tile, panel + c * kPositions);
        for (int64_t h = 0; h < tile.hidden; h += kHidden)
            multiply_block(panel, packed_w1 + (tile.first_hidden + h) * s.channels + first * kHidden, count,
                           products + h * kPositions);
    }
    for (int64_t h = 0; h < tile.hidden; ++h)
        totals[h] += rectified_sum(products + h * kPositions, b1[tile.first_hidden + h], tile.positions);
}

}  // namespace

RoutingGateVariant routing_gate_variant() { return {kHidden, kPositions, add_tile}; }

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
