#include "kernels/cpu/routing_gate.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/routing_gate_tile.h"

namespace adroit::cpu {
namespace {

// Parts that an image's positions are split into at most. A part is one task and one partial sum, so
// the split depends on the shape alone: the order of additions is the same for any thread count.
constexpr int64_t kMaxParts = 64;
// Smaller parts would spend their time on starting and closing sums.
constexpr int64_t kMinPartPositions = 1024;

// Multiplications in a microsecond of one thread: rather fewer than the fastest CPUs do.
constexpr double kProductsPerMicrosecond = 60e3;

RoutingGateVariant variant() { return ADROIT_VARIANT(routing_gate_variant); }

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Sums of the hidden map's positions, part by part: [image][part][hidden].
std::vector<float> partial_sums(const RoutingGatePlan& split, const float* x, const PackedGateWeights& w1,
                                const float* b1, const ParallelFor& parallel_for) {
    const RoutingGateShape& shape = split.shape;
    const RoutingGateVariant kernel = variant();
    std::vector<float> sums(shape.batch * split.parts * shape.hidden, 0.0f);
    const int64_t products = shape.batch * shape.positions() * shape.channels * shape.hidden;
    parallel_for(shape.batch * split.parts * split.groups, products / kProductsPerMicrosecond, [&](int64_t index) {
        const int64_t group = index % split.groups, number = index / split.groups % split.parts;
        RoutingGatePart part;
        part.image = index / split.groups / split.parts;
        part.first_position = number * split.part_positions;
        part.positions = std::min(split.part_positions, shape.positions() - part.first_position);
        part.first_hidden = group * kHiddenPerPart;
        part.hidden = std::min(kHiddenPerPart, shape.hidden - part.first_hidden);
        float* totals = sums.data() + (part.image * split.parts + number) * shape.hidden + part.first_hidden;
        kernel.add_part(shape, x, w1.values.data(), b1, part, totals);
    });
    return sums;
}

// The second layer of one sample, from its partial sums [part][hidden].
void finish_sample(const RoutingGateShape& shape, const float* sums, int64_t parts,
                   const RoutingGateParameters& parameters, float threshold, float* gates, bool* open) {
    std::vector<float> mean(shape.hidden);
    for (int64_t h = 0; h < shape.hidden; ++h) {
        double total = 0.0;
        for (int64_t part = 0; part < parts; ++part) total += sums[part * shape.hidden + h];
        mean[h] = static_cast<float>(total / shape.positions());
    }
    for (int64_t p = 0; p < shape.paths; ++p) {
        float logit = parameters.b2[p];
        for (int64_t h = 0; h < shape.hidden; ++h) logit += parameters.w2[p * shape.hidden + h] * mean[h];
        const float value = std::tanh(logit);
        // A comparison that is false for NaN: a gate that is not a number is closed.
        const bool above = value > std::max(threshold, 0.0f);
        gates[p] = above ? value : 0.0f;
        open[p] = open[p] || above;
    }
}

}  // namespace

PackedGateWeights pack_gate_weights(const float* w1, int64_t hidden, int64_t channels) {
    const int64_t block = variant().hidden_block;
    PackedGateWeights packed{std::vector<float>(divide_up(hidden, block) * block * channels)};
    for (int64_t h = 0; h < hidden; ++h)
        for (int64_t c = 0; c < channels; ++c)
            packed.values[(h / block) * block * channels + c * block + h % block] = w1[h * channels + c];
    return packed;
}

RoutingGatePlan plan_routing_gate(const RoutingGateShape& shape) {
    const int64_t block = variant().position_block;
    const int64_t positions = std::max(kMinPartPositions, divide_up(shape.positions(), kMaxParts));
    const int64_t part_positions = divide_up(positions, block) * block;
    return {shape, part_positions, divide_up(shape.positions(), part_positions),
            divide_up(shape.hidden, kHiddenPerPart)};
}

void routing_gate(const RoutingGatePlan& plan, const float* x, const PackedGateWeights& w1,
                  const RoutingGateParameters& parameters, float* gates, bool* open, const ParallelFor& parallel_for) {
    const RoutingGateShape& shape = plan.shape;
    const std::vector<float> sums = partial_sums(plan, x, w1, parameters.b1, parallel_for);
    std::fill_n(open, shape.paths, false);
    for (int64_t n = 0; n < shape.batch; ++n)
        finish_sample(shape, sums.data() + n * plan.parts * shape.hidden, plan.parts, parameters,
                      parameters.threshold[parameters.threshold_per_sample ? n : 0], gates + n * shape.paths, open);
}

}  // namespace adroit::cpu
