#include <algorithm>
#include <limits>

#include "kernel_tests.h"

namespace adroit::tests {
namespace {

AdaptiveFilterShape random_shape() {
    const int64_t size = std::max(int64_t{3}, 2 * pick(0, 3) + 1), groups = pick(1, 9), stride = pick(1, 2);
    const int64_t least = size / 2 + 1;
    // Some maps are wider than a tile of the kernel.
    const bool wide = pick(0, 4) == 0;
    const int64_t height = wide ? pick(least, 6) : pick(least, 24), width = wide ? pick(100, 300) : pick(least, 70);
    return {pick(1, 2), groups * pick(1, 1 + 20 / groups), height, width, size, stride, groups, pick(0, 1) == 1};
}

int64_t reflected(int64_t index, int64_t size) {
    if (index < 0) return -index;
    return index < size ? index : 2 * (size - 1) - index;
}

struct Softmax {
    double largest, sum;
    int64_t terms;
};

// logits: at the pixel, in the first channel that counts.
Softmax softmax_over(const float* logits, int64_t channels, int64_t plane) {
    Softmax softmax{-std::numeric_limits<double>::infinity(), 0.0, channels};
    for (int64_t c = 0; c < channels; ++c) softmax.largest = std::max(softmax.largest, double(logits[c * plane]));
    for (int64_t c = 0; c < channels; ++c) softmax.sum += std::exp(logits[c * plane] - softmax.largest);
    return softmax;
}

struct Expected {
    double value, limit;
};

// One output. x: its channel; logits: at its pixel, in its group's first channel.
Expected expected_at(const AdaptiveFilterShape& s, const float* x, const float* logits, const Softmax& softmax,
                     int64_t row, int64_t column) {
    const int64_t plane = s.out_height() * s.out_width(), size = s.kernel_size, radius = size / 2;
    double value = 0.0, magnitude = 0.0, weight_errors = 0.0;
    for (int64_t t = 0; t < s.taps(); ++t) {
        const int64_t from_row = reflected(row * s.stride - radius + t / size, s.height);
        const int64_t from_column = reflected(column * s.stride - radius + t % size, s.width);
        const double input = x[from_row * s.width + from_column], shifted = logits[t * plane] - softmax.largest;
        const double weight = std::exp(shifted) / softmax.sum;
        // As softmax_limit in deploy/parity/tolerance.py.
        const double roundoffs = std::fabs(shifted) + 4.0 + 4.0 * std::sqrt(double(softmax.terms));
        value += weight * input;
        magnitude += weight * std::fabs(input);
        weight_errors +=
            (kRoundoff * roundoffs * weight + double(std::numeric_limits<float>::min())) * std::fabs(input);
    }
    return {value, rounding_limit(value, magnitude, s.taps()) + weight_errors + storage_limit(value)};
}

bool adaptive_filter_is_right() {
    const AdaptiveFilterShape s = random_shape();
    const int64_t plane = s.out_height() * s.out_width(), logit_channels = s.groups * s.taps();
    const auto x = noise(s.batch * s.channels * s.height * s.width, 1.0f),
               logits = noise(s.batch * logit_channels * plane, pick(0, 3) ? 3.0f : 40.0f);
    std::vector<float> y(static_cast<size_t>(s.batch * s.channels * plane));
    run_adaptive_filter(s, x.data(), logits.data(), y.data());

    for (int64_t n = 0; n < s.batch; ++n)
        for (int64_t group = 0; group < s.groups; ++group)
            for (int64_t pixel = 0; pixel < plane; ++pixel) {
                const float* all = logits.data() + n * logit_channels * plane + pixel;
                const float* own = all + group * s.taps() * plane;
                const Softmax softmax =
                    s.joint_softmax ? softmax_over(all, logit_channels, plane) : softmax_over(own, s.taps(), plane);
                for (int64_t c = 0; c < s.channels / s.groups; ++c) {
                    const int64_t channel = n * s.channels + group * (s.channels / s.groups) + c;
                    const Expected expected = expected_at(s, x.data() + channel * s.height * s.width, own, softmax,
                                                          pixel / s.out_width(), pixel % s.out_width());
                    const int64_t i = channel * plane + pixel;
                    if (!is_close("adaptive_filter", i, y[i], expected.value, expected.limit)) return false;
                }
            }
    return true;
}

const OperatorTest test("adaptive_filter", adaptive_filter_is_right, OperatorTest::Types::float32_and_float16);

}  // namespace

}  // namespace adroit::tests
