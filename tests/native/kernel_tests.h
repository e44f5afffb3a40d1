// What the tests of the kernels share. Each `..._is_right` runs one random shape through a kernel and
// compares with plain loops in double. Buffers are exactly as large as the tensors, so that the
// address sanitizer sees any access beyond them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace adroit::tests {

inline std::mt19937 generator(1);

inline int64_t pick(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(generator); }

inline std::vector<float> noise(int64_t count, float spread) {
    std::normal_distribution<float> normal(0.0f, spread);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal(generator);
    return values;
}

// Half the distance of 1 to the next float: the largest relative error of one rounding.
constexpr double kRoundoff = 1.0 / (1 << 24);

// The limit of deploy/parity/tolerance.py for a sum of `terms` whose absolute values sum to `magnitude`.
inline double rounding_limit(double value, double magnitude, int64_t terms) {
    return kRoundoff * (std::fabs(value) + 4.0 * std::sqrt(double(terms)) * magnitude);
}

inline bool is_close(const char* what, int64_t index, double value, double expected, double limit) {
    if (std::fabs(value - expected) <= limit) return true;  // false for NaN
    std::printf("%s wrong at %ld: %g, expected %g (limit %g)\n", what, long(index), value, expected, limit);
    return false;
}

bool adaptive_filter_is_right();
bool adder_conv2d_is_right();
bool quantised_adder_conv2d_is_right();
bool routing_gate_is_right();

}  // namespace adroit::tests
