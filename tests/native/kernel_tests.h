// What the tests of the kernels share. Each test runs one random shape through a kernel and
// compares with plain loops in double. Buffers are exactly as large as the tensors, so that the
// address sanitizer sees any access beyond them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "kernels/shapes.h"

namespace adroit::tests {

inline std::mt19937 generator(1);

inline int64_t pick(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(generator); }

// Whether tensors are stored as float16: inputs then are such numbers, and outputs are rounded to them.
inline bool stored_as_half = false;

inline float as_stored(float value) {
#if defined(__FLT16_MAX__)
    if (stored_as_half) return static_cast<float>(static_cast<_Float16>(value));
#endif
    return value;
}

inline std::vector<float> noise(int64_t count, float spread) {
    std::normal_distribution<float> normal(0.0f, spread);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = as_stored(normal(generator));
    return values;
}

// How far an output that is stored may be from what was computed.
inline double storage_limit(double value) {
    return stored_as_half ? std::fabs(value) / (1 << 11) + 1.0 / (1 << 25) : 0.0;
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

// A test that adds itself to the program it is linked into.
struct OperatorTest {
    enum class Types { only_one, float32_and_float16 };

    // is_right: runs one random shape. types: what the kernel on a GPU stores tensors as.
    OperatorTest(const std::string& name, bool (*is_right)(), Types types = Types::only_one)
        : is_right(is_right), types(types) {
        all().emplace(name, *this);
    }
    static std::map<std::string, OperatorTest>& all() {
        static std::map<std::string, OperatorTest> tests;
        return tests;
    }

    bool (*is_right)();
    Types types;
};

// The kernels under test: the CPU's (cpu/cpu_kernels.cpp), or CUDA's (cuda/cuda_kernels.cpp).
void run_adaptive_filter(const AdaptiveFilterShape& shape, const float* x, const float* logits, float* y);

void run_adder_conv2d(const AdderConv2dShape& shape, const float* x, const float* weights, const float* scale,
                      const float* shift, const float* residual, bool relu, float* y);

void run_adder_conv2d_input_gradient(const AdderConv2dShape& shape, const float* x, const float* weights,
                                     const float* y_gradient, float* x_gradient);

void run_bilinear_upsample(const BilinearUpsampleShape& shape, const float* x, float* y);

struct GateParameters {
    const float *w1, *b1, *w2, *b2, *threshold;
    bool threshold_per_sample;
};

void run_routing_gate(const RoutingGateShape& shape, const float* x, const GateParameters& parameters, float* gates,
                      bool* open);

struct DecisionInputs {
    const float *gates, *live, *belongs, *reach, *shown;
};

struct DecisionOutputs {
    float *counted, *opened, *reached;
    bool* flags;
};

void run_routing_decision(const RoutingDecisionShape& shape, const DecisionInputs& in, const DecisionOutputs& out);

}  // namespace adroit::tests
