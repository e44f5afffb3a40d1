// Compiled once per instruction set (see vector.h). A small matrix product W1 * X, a block of positions
// at a time, whose ReLU and sum over positions are taken while the products are still in registers.
// A block's values are kept in a panel [channels][positions] while several blocks of hidden channels pass:
// the planes of X often lie a power of two apart, and reading them in place would throw each other out of
// the cache. The first of those blocks reads X in place and writes the panel by the way.
#include "kernels/cpu/routing_gate_tile.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/vector_math.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {
namespace {

// Register block: hidden channels x vectors accumulators, beside the vectors of X and a weight.
#if defined(__AVX512F__)
constexpr int kHidden = 8, kVectors = 3;
#elif defined(__AVX2__)
constexpr int kHidden = 4, kVectors = 3;
#else
constexpr int kHidden = 4, kVectors = 2;
#endif
constexpr int64_t kLanes = Vector::kLanes;
constexpr int64_t kPositions = kVectors * kLanes;
// Channels per pass: panel and weights of a pass stay in the first-level cache, and a sum that is
// closed every so many terms loses fewer bits than one running sum.
constexpr int64_t kChannels = 128;

template <int Vectors>
using Products = Vector[kHidden][Vectors];

// A channel's values at the positions of a block, and those of the other channels `stride` apart.
struct Rows {
    const float* values;
    int64_t stride;
};

// total = sum over channels of weight * value. The rows are copied to the panel if `Copies`.
template <int Vectors, bool Copies>
void multiply_block(const Rows& rows, const float* weights, int64_t channels, float* panel, Products<Vectors>& total) {
    for (auto& row : total)
        for (auto& value : row) value = Vector::broadcast(0.0f);
    const float* values = rows.values;
    for (int64_t c = 0; c < channels; ++c, values += rows.stride, weights += kHidden, panel += kPositions) {
        Vector x[Vectors];
        for (int v = 0; v < Vectors; ++v) {
            x[v] = Vector::load(values + v * kLanes);
            if constexpr (Copies) x[v].store(panel + v * kLanes);
        }
        for (int h = 0; h < kHidden; ++h) {
            const Vector w = Vector::broadcast(weights[h]);
            for (int v = 0; v < Vectors; ++v) total[h][v] = multiply_add(w, x[v], total[h][v]);
        }
    }
}

// The means of the center 2 x 2 of a vector of 4 x 4 blocks. columns: the sum of the two center rows.
Vector shrink_vector(const Vector (&columns)[4]) {
    const Vector second = even_lanes(odd_lanes(columns[0], columns[1]), odd_lanes(columns[2], columns[3]));
    const Vector third = odd_lanes(even_lanes(columns[0], columns[1]), even_lanes(columns[2], columns[3]));
    return Vector::broadcast(0.25f) * (second + third);
}

// The means of `count` blocks that lie side by side, whose center rows are given. Whole vectors are written.
void shrink_row(const float* upper, const float* lower, int64_t count, float* out) {
    Vector columns[4];
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes, upper += 4 * kLanes, lower += 4 * kLanes) {
        for (int q = 0; q < 4; ++q) columns[q] = Vector::load(upper + q * kLanes) + Vector::load(lower + q * kLanes);
        shrink_vector(columns).store(out + i);
    }
    if (i == count) return;
    for (int64_t q = 0, left = 4 * (count - i); q < 4; ++q, left -= kLanes) {
        columns[q] = Vector::broadcast(0.0f);
        if (left > 0) columns[q] = load_up_to(upper + q * kLanes, left) + load_up_to(lower + q * kLanes, left);
    }
    shrink_vector(columns).store(out + i);
}

// One row of the panel: a channel's values at the block's positions. Whole vectors are written, which may
// reach into the next row.
void gather_channel(const RoutingGateShape& s, const float* plane, const RoutingGatePart& block, float* row) {
    if (s.shrink == 1) {
        for (int64_t i = 0; i < block.positions; i += kLanes)
            load_up_to(plane + block.first_position + i, block.positions - i).store(row + i);
        return;
    }
    const int64_t columns = s.columns();
    int64_t y = block.first_position / columns, x = block.first_position % columns;
    for (int64_t done = 0; done < block.positions; ++y, x = 0) {
        const int64_t run = std::min(columns - x, block.positions - done);
        const float* upper = plane + (4 * y + 1) * s.width + 4 * x;
        shrink_row(upper, upper + s.width, run, row + done);
        done += run;
    }
}

// The sums of one part. Positions are summed lane by lane: a sum across lanes costs more than a block's
// products, so it is taken once, at the end.
class PartSums {
public:
    PartSums(const RoutingGateShape& s, const float* x, const float* packed_w1, const float* b1,
             const RoutingGatePart& part)
        : s_(s), x_(x), w1_(packed_w1), part_(part) {
        std::memset(sums_, 0, sizeof(sums_[0]) * part.hidden);
        std::fill_n(std::copy_n(b1 + part.first_hidden, part.hidden, bias_), kHidden, 0.0f);
    }

    void add_to(float* totals) {
        for (int64_t done = 0; done < part_.positions;) {
            RoutingGatePart block = part_;
            block.first_position += done;
            block.positions = std::min(kPositions, part_.positions - done);
            done += block.positions;
            if (block.positions <= kLanes)
                add_block<1>(block);
            else if (block.positions <= 2 * kLanes || kVectors == 2)
                add_block<2>(block);
            else
                add_block<kVectors>(block);
        }
        for (int64_t h = 0; h < part_.hidden; ++h) totals[h] += sum_of_lanes(Vector::load(sums_[h]));
    }

private:
    const float* plane(const RoutingGatePart& block, int64_t channel) const {
        return x_ + (block.image * s_.channels + channel) * s_.height * s_.width;
    }

    template <int Vectors>
    void add_block(const RoutingGatePart& block) {
        const bool in_place = s_.shrink == 1 && block.positions == Vectors * kLanes;
        const bool copies = in_place && part_.hidden > kHidden;
        for (int64_t first = 0; first < s_.channels; first += kChannels) {
            const int64_t count = std::min(kChannels, s_.channels - first);
            Rows rows{plane(block, first) + block.first_position, s_.height * s_.width};
            if (!in_place) {
                for (int64_t c = 0; c < count; ++c)
                    gather_channel(s_, plane(block, first + c), block, panel_ + c * kPositions);
                rows = {panel_, kPositions};
            }
            for (int64_t h = 0; h < part_.hidden; h += kHidden) {
                const float* weights = w1_ + (part_.first_hidden + h) * s_.channels + first * kHidden;
                Products<Vectors> total;
                if (copies && h == 0) {
                    multiply_block<Vectors, true>(rows, weights, count, panel_, total);
                    rows = {panel_, kPositions};
                } else {
                    multiply_block<Vectors, false>(rows, weights, count, panel_, total);
                }
                close<Vectors>(total, h, first, count, block.positions);
            }
        }
    }

    // Ends a pass over channels [first, first + count): after the last one the products are complete.
    template <int Vectors>
    void close(const Products<Vectors>& total, int64_t h, int64_t first, int64_t count, int64_t positions) {
        const bool is_last = first + count == s_.channels;
        for (int i = 0; i < kHidden; ++i) {
            float* so_far = products_[h + i];
            Vector sum = Vector::broadcast(0.0f);
            for (int v = 0; v < Vectors; ++v) {
                const Vector before = first == 0 ? Vector::broadcast(bias_[h + i]) : Vector::load(so_far + v * kLanes);
                Vector value = total[i][v] + before;
                if (!is_last) value.store(so_far + v * kLanes);
                // maximum(zero, v) gives v where v is NaN, on all instruction sets.
                value = maximum(Vector::broadcast(0.0f), value);
                // The lanes past the positions do not count.
                if (v == Vectors - 1 && positions < Vectors * kLanes) value = keep_first(value, positions - v * kLanes);
                sum = sum + value;
            }
            if (is_last) (Vector::load(sums_[h + i]) + sum).store(sums_[h + i]);
        }
    }

    const RoutingGateShape& s_;
    const float *x_, *w1_;
    const RoutingGatePart& part_;
    // Room for a whole register block past the hidden channels, and for a vector past the panel.
    float bias_[kHiddenPerPart + kHidden];
    alignas(64) float sums_[kHiddenPerPart][kLanes];
    alignas(64) float products_[kHiddenPerPart][kPositions];
    alignas(64) float panel_[kChannels * kPositions + kLanes];
};

void add_part(const RoutingGateShape& s, const float* x, const float* packed_w1, const float* b1,
              const RoutingGatePart& part, float* totals) {
    PartSums(s, x, packed_w1, b1, part).add_to(totals);
}

}  // namespace

RoutingGateVariant routing_gate_variant() { return {kHidden, kPositions, add_part}; }

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
