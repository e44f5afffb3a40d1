// The adder convolution of 8-bit integers on the CPU (QAdderConv2d and QAdderConv2dAdd in
// plugins/operators.toml, which defines every bit of the result):
//
//   S     = sum over c,kh,kw of |Xpad - W[m,c,kh,kw]|, exact; Xpad is X padded with x_zero_point
//   value = act((shift[m] - scale[m] * S) + residual_scale * (residual - residual_zero_point))
//   Y     = value, or saturate(round_half_to_even(value / output_scale) + output_zero_point)
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/shapes.h"

namespace adroit::cpu {

// Taps (C * kH * kW) at most: a sum of so many differences stays below 2^24, exact in float32 too.
constexpr int64_t kMaxQuantizedTaps = 65793;

struct QuantizedAdderEpilogue {
    const float* scale;
    const float* shift;
    const void* residual;  // X's type and Y's shape, or null
    float residual_scale;
    int32_t residual_zero_point;
    bool relu;
    bool quantized;  // Y has X's type; else it is float32 and the following are not used
    float output_scale;
    int32_t output_zero_point;
};

// 8-bit integers of either kind.
struct QuantizedTensor {
    const void* values;
    bool is_signed;
    int32_t zero_point;
};

// W reordered once per session for the instruction set in use and the kind of sum that fits the shape.
struct PackedQuantizedWeights {
    std::vector<uint8_t> values;
    bool windows;  // rows of taps met by sliding windows; else groups of channels
};

// What one step of the sum takes: a row of taps for neighboring outputs, or a tap of eight channels.
// `fastest` is what suits this CPU and the kernel; tests ask for the others.
enum class QuantizedStep { fastest, windows, channels };

// Only the kernel's size, the channels and the strides of `shape` count. weights: [M,C,kH,kW].
// `windows` is taken where the instruction set has it and the kernel is 3 or 4 wide with stride 1.
PackedQuantizedWeights pack_quantized_weights(const AdderConv2dShape& shape, const void* weights, bool is_signed,
                                              QuantizedStep step = QuantizedStep::fastest);

// y: [N,M,Ho,Wo], of X's type or float32.
void quantized_adder_conv2d(const AdderConv2dShape& shape, const QuantizedTensor& x,
                            const PackedQuantizedWeights& weights, const QuantizedAdderEpilogue& epilogue, void* y,
                            const ParallelFor& parallel_for);

}  // namespace adroit::cpu
