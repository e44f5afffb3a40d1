#include <algorithm>
#include <memory>

#include "kernel_tests.h"

namespace adroit::tests {
namespace {

RoutingGateShape random_shape() {
    const int64_t shrink = pick(0, 1) ? 4 : 1;
    // A rare map is too large for each part of it to be visited once.
    if (pick(0, 49) == 0) return {1, pick(1, 2), 370, pick(370, 380), pick(1, 3), 1, 1};
    // Few maps have more positions, channels or hidden channels than the kernel takes at once.
    const bool large = pick(0, 9) == 0;
    const int64_t side = large ? 90 : 20, channels = pick(0, 9) ? pick(1, 20) : pick(130, 140);
    const int64_t hidden = !large && pick(0, 9) == 0 ? pick(128, 135) : pick(1, 12);
    return {pick(1, 3), channels, pick(shrink, side), pick(shrink, side), hidden, pick(1, 3), shrink};
}

// A value with how far a right implementation may be from it.
struct Estimate {
    double value = 0.0, limit = 0.0;
};

// X as the gate sees it at one position, and its absolute values shrunk alike. x: one channel.
void look(const RoutingGateShape& s, const float* x, int64_t position, double* value, double* magnitude) {
    const int64_t row = position / s.columns() * s.shrink, column = position % s.columns() * s.shrink;
    *value = x[row * s.width + column];
    *magnitude = std::fabs(*value);
    if (s.shrink == 1) return;
    *value = *magnitude = 0.0;
    for (int64_t r = row + 1; r < row + 3; ++r)
        for (int64_t c = column + 1; c < column + 3; ++c) {
            *value += 0.25 * x[r * s.width + c];
            *magnitude += 0.25 * std::fabs(x[r * s.width + c]);
        }
}

// The mean over positions of one hidden channel. x: one image; w1: the channel's row.
Estimate hidden_mean(const RoutingGateShape& s, const float* x, const float* w1, float b1) {
    Estimate mean;
    const int64_t terms = s.channels + 1 + (s.shrink == 4 ? 4 : 0);
    for (int64_t position = 0; position < s.positions(); ++position) {
        double sum = b1, magnitude = std::fabs(b1), seen, size;
        for (int64_t c = 0; c < s.channels; ++c) {
            look(s, x + c * s.height * s.width, position, &seen, &size);
            sum += w1[c] * seen;
            magnitude += std::fabs(w1[c]) * size;
        }
        mean.value += std::max(sum, 0.0) / double(s.positions());
        mean.limit += rounding_limit(sum, magnitude, terms) / double(s.positions());
    }
    mean.limit += rounding_limit(mean.value, mean.value, s.positions());
    return mean;
}

// max(0, tanh(...)) of one path, before the threshold. w2: the path's row.
Estimate gate_value(const RoutingGateShape& s, const std::vector<Estimate>& means, const float* w2, float b2) {
    double logit = b2, magnitude = std::fabs(b2), limit = 0.0;
    for (int64_t h = 0; h < s.hidden; ++h) {
        logit += w2[h] * means[h].value;
        magnitude += std::fabs(w2[h]) * means[h].value;
        limit += std::fabs(w2[h]) * means[h].limit;
    }
    const double value = std::max(std::tanh(logit), 0.0);
    return {value, limit + rounding_limit(logit, magnitude, s.hidden + 1) + 4.0 * kRoundoff * value};
}

bool routing_gate_is_right() {
    const RoutingGateShape s = random_shape();
    const bool threshold_per_sample = pick(0, 1);
    const auto x = noise(s.batch * s.channels * s.height * s.width, 1.0f), w1 = noise(s.hidden * s.channels, 0.3f),
               b1 = noise(s.hidden, 0.3f), w2 = noise(s.paths * s.hidden, 0.5f), b2 = noise(s.paths, 0.5f),
               threshold = noise(threshold_per_sample ? s.batch : 1, 0.3f);
    std::vector<float> gates(static_cast<size_t>(s.batch * s.paths));
    const auto open = std::make_unique<bool[]>(static_cast<size_t>(s.paths));
    run_routing_gate(s, x.data(), {w1.data(), b1.data(), w2.data(), b2.data(), threshold.data(), threshold_per_sample},
                     gates.data(), open.get());

    std::vector<bool> any_open(static_cast<size_t>(s.paths));
    for (int64_t n = 0; n < s.batch; ++n) {
        std::vector<Estimate> means;
        for (int64_t h = 0; h < s.hidden; ++h)
            means.push_back(
                hidden_mean(s, x.data() + n * s.channels * s.height * s.width, w1.data() + h * s.channels, b1[h]));
        const double above = std::max(threshold[threshold_per_sample ? n : 0], 0.0f);
        for (int64_t p = 0; p < s.paths; ++p) {
            const float gate = gates[n * s.paths + p];
            const Estimate expected = gate_value(s, means, w2.data() + p * s.hidden, b2[p]);
            any_open[p] = any_open[p] || gate != 0.0f;
            // Nearer to the threshold than the limit, open and closed are both right.
            const bool may_be_closed = expected.value <= above + expected.limit;
            if (may_be_closed && gate == 0.0f) continue;
            if (expected.value < above - expected.limit || !(gate > above) ||
                !is_close("routing_gate", n * s.paths + p, gate, expected.value, expected.limit)) {
                std::printf("gate %g, expected %g, threshold %g\n", double(gate), expected.value, above);
                return false;
            }
        }
    }
    for (int64_t p = 0; p < s.paths; ++p)
        if (open[p] != any_open[p]) return std::printf("open[%ld] is wrong\n", long(p)), false;
    return true;
}

const OperatorTest test("routing_gate", routing_gate_is_right, OperatorTest::Types::float32_and_float16);

}  // namespace

}  // namespace adroit::tests
