// Compiled once per instruction set (see vector.h). A small matrix product W1 * X, a block of positions
// at a time, whose ReLU and sum over positions are taken while the products are still in registers.
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

// One row of the panel: a channel's values at the block's positions.
void gather_channel(const RoutingGateShape& s, const float* plane, const RoutingGatePart& block, float* row) {
    if (s.shrink == 1) {
        std::memcpy(row, plane + block.first_position, sizeof(float) * block.positions);
        return;
    }
    const int64_t columns = s.columns();
    int64_t y = block.first_position / columns, x = block.first_position % columns;
    for (int64_t done = 0; done < block.positions; ++y, x = 0) {
        const int64_t run = std::min(columns - x, block.positions - done);
        const float* upper = plane + (4 * y + 1) * s.width + 4 * x + 1;
        const float* lower = upper + s.width;
        for (int64_t i = 0; i < run; ++i)
            row[done + i] = 0.25f * ((upper[4 * i] + upper[4 * i + 1]) + (lower[4 * i] + lower[4 * i + 1]));
        done += run;
    }
}

// Where a block's values are: X itself (planes apart), or the panel.
struct Rows {
    const float* values;
    int64_t stride;
};

using Products = Vector[kHidden][kVectors];

// Sum over channels of weight * value, for one register block.
void multiply_block(const Rows& rows, const float* weights, int64_t channels, Products& total) {
    for (auto& row : total)
        for (auto& value : row) value = Vector::broadcast(0.0f);
    const float* values = rows.values;
    for (int64_t c = 0; c < channels; ++c, values += rows.stride, weights += kHidden) {
        Vector x[kVectors];
        for (int v = 0; v < kVectors; ++v) x[v] = Vector::load(values + v * Vector::kLanes);
        for (int h = 0; h < kHidden; ++h) {
            const Vector w = Vector::broadcast(weights[h]);
            for (int v = 0; v < kVectors; ++v) total[h][v] = total[h][v] + w * x[v];
        }
    }
}

// Positions' sums of a register block of hidden channels, lane by lane: a sum across lanes costs more
// than a block's products, so it is taken once, at the end of the part.
struct LaneSums {
    alignas(64) float lanes[kHiddenPerPart][Vector::kLanes];

    void add_rectified(int64_t h, Vector product, float bias) {
        // maximum(zero, v) gives v where v is NaN, on all instruction sets.
        const Vector value = maximum(Vector::broadcast(0.0f), product + Vector::broadcast(bias));
        (Vector::load(lanes[h]) + value).store(lanes[h]);
    }
    float total(int64_t h) const {
        float sum = 0.0f;
        for (float lane : lanes[h]) sum += lane;
        return sum;
    }
};

class PartSums {
public:
    PartSums(const RoutingGateShape& s, const float* x, const float* packed_w1, const float* b1,
             const RoutingGatePart& part)
        : s_(s), x_(x), w1_(packed_w1), b1_(b1), part_(part) {}

    void add_to(float* totals) {
        std::memset(sums_.lanes, 0, sizeof(sums_.lanes[0]) * part_.hidden);
        for (int64_t done = 0; done < part_.positions; done += kPositions) {
            RoutingGatePart block = part_;
            block.first_position += done;
            block.positions = std::min(kPositions, part_.positions - done);
            if (block.positions == kPositions && s_.channels <= kChannels)
                add_whole(block);
            else
                add_any(block, totals);
        }
        for (int64_t h = 0; h < part_.hidden; ++h) totals[h] += sums_.total(h);
    }

private:
    const float* weights(int64_t h, int64_t channel) const {
        return w1_ + (part_.first_hidden + h) * s_.channels + channel * kHidden;
    }

    const float* plane(const RoutingGatePart& block, int64_t channel) const {
        return x_ + (block.image * s_.channels + channel) * s_.height * s_.width;
    }

    void gather(const RoutingGatePart& block, int64_t first, int64_t count) {
        for (int64_t c = 0; c < count; ++c) gather_channel(s_, plane(block, first + c), block, panel_ + c * kPositions);
    }

    // All channels in one pass: the products stay in registers.
    void add_whole(const RoutingGatePart& block) {
        Rows rows{plane(block, 0) + block.first_position, s_.height * s_.width};
        // Values that are read once may be read in place.
        if (s_.shrink != 1 || part_.hidden > kHidden) {
            gather(block, 0, s_.channels);
            rows = {panel_, kPositions};
        }
        Products total;
        for (int64_t h = 0; h < part_.hidden; h += kHidden) {
            multiply_block(rows, weights(h, 0), s_.channels, total);
            for (int64_t i = 0; i < std::min<int64_t>(kHidden, part_.hidden - h); ++i)
                for (int v = 0; v < kVectors; ++v)
                    sums_.add_rectified(h + i, total[i][v], b1_[part_.first_hidden + h + i]);
        }
    }

    // Several passes, or fewer positions than a register block has.
    void add_any(const RoutingGatePart& block, float* totals) {
        alignas(64) float products[kHiddenPerPart * kPositions] = {};
        // Lanes past the positions are read by the vector loop: give them a defined value.
        if (block.positions < kPositions) std::fill_n(panel_, kChannels * kPositions, 0.0f);
        for (int64_t first = 0; first < s_.channels; first += kChannels) {
            const int64_t count = std::min(kChannels, s_.channels - first);
            gather(block, first, count);
            Products total;
            for (int64_t h = 0; h < part_.hidden; h += kHidden) {
                multiply_block({panel_, kPositions}, weights(h, first), count, total);
                for (int i = 0; i < kHidden; ++i)
                    for (int v = 0; v < kVectors; ++v) {
                        float* product = products + (h + i) * kPositions + v * Vector::kLanes;
                        (Vector::load(product) + total[i][v]).store(product);
                    }
            }
        }
        for (int64_t h = 0; h < part_.hidden; ++h)
            totals[h] += rectified_sum(products + h * kPositions, b1_[part_.first_hidden + h], block.positions, h);
    }

    // The lanes past the positions do not count.
    float rectified_sum(const float* products, float bias, int64_t positions, int64_t h) {
        int64_t i = 0;
        for (; i + Vector::kLanes <= positions; i += Vector::kLanes)
            sums_.add_rectified(h, Vector::load(products + i), bias);
        float sum = 0.0f;
        for (; i < positions; ++i) {
            const float value = products[i] + bias;
            sum += value < 0.0f ? 0.0f : value;
        }
        return sum;
    }

    const RoutingGateShape& s_;
    const float *x_, *w1_, *b1_;
    const RoutingGatePart& part_;
    LaneSums sums_;
    alignas(64) float panel_[kChannels * kPositions];
};

void add_part(const RoutingGateShape& s, const float* x, const float* packed_w1, const float* b1,
              const RoutingGatePart& part, float* totals) {
    PartSums(s, x, packed_w1, b1, part).add_to(totals);
}

}  // namespace

RoutingGateVariant routing_gate_variant() { return {kHidden, kPositions, add_part}; }

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
