// Packs the part of X that a tile of the adder convolution meets (see adder_conv2d_tile.h). Included by
// adder_conv2d_tile.cpp, once per instruction set.
#pragma once

#include <algorithm>

#include "kernels/cpu/adder_conv2d_tile.h"
#include "kernels/cpu/vector_math.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {

// out[i] = in[i * stride]. -0 becomes +0, whose sign bit is not set. Whole vectors are written: what follows in
// the panel is written later.
inline void copy_columns(const float* in, int64_t stride, int64_t count, float* out) {
    constexpr int64_t lanes = Vector::kLanes;
    const Vector zero = Vector::broadcast(0.0f);
    if (stride == 1) {
        for (int64_t i = 0; i < count; i += lanes) (load_up_to(in + i, count - i) + zero).store(out + i);
    } else if (stride == 2) {
        for (int64_t i = 0; i < count; i += lanes) {
            const int64_t here = 2 * (count - i) - 1;  // past the last pixel there may be nothing
            const Vector low = load_up_to(in + 2 * i, here);
            const Vector high = here > lanes ? load_up_to(in + 2 * i + lanes, here - lanes) : zero;
            (even_lanes(low, high) + zero).store(out + i);
        }
    } else {
        for (int64_t i = 0; i < count; ++i) out[i] = in[i * stride] + 0.0f;
    }
}

// A row of a phase: columns first + i * stride of a row of X, 0 outside of it.
inline void pack_row(const float* row, int64_t width, int64_t first, int64_t stride, int64_t count, float* out) {
    const auto before = [&](int64_t column) {  // how many of the row's columns lie before it
        return std::clamp((column - first + stride - 1) / stride, int64_t{0}, count);
    };
    const int64_t begin = first >= 0 ? 0 : before(0), end = std::max(begin, first >= width ? 0 : before(width));
    std::fill_n(out, begin, 0.0f);
    copy_columns(row + first + begin * stride, stride, end - begin, out + begin);
    std::fill_n(out + end, count - end, 0.0f);
}

inline void pack_channel(const AdderConv2dCall& call, const AdderTile& tile, const float* plane, float* out) {
    const AdderConv2dShape& s = call.shape;
    const AdderConv2dPlan& plan = call.plan;
    for (int64_t down = 0; down < plan.phases_down; ++down)
        for (int64_t along = 0; along < plan.phases_along; ++along, out += plan.phase_floats) {
            const int64_t first = tile.first_column * s.stride_width - s.pad_left + along;
            for (int64_t i = 0; i < plan.packed_rows; ++i) {
                const int64_t row = (tile.first_row + i) * s.stride_height - s.pad_top + down;
                if (row < 0 || row >= s.height)
                    std::fill_n(out + i * plan.pitch, plan.pitch, 0.0f);
                else
                    pack_row(plane + row * s.width, s.width, first, s.stride_width, plan.pitch, out + i * plan.pitch);
            }
            // Past the last row: read by its last pixels, where rows share their padding, and by whole vectors.
            const int64_t packed = plan.packed_rows * plan.pitch;
            std::fill_n(out + packed, plan.phase_floats - packed, 0.0f);
        }
}

// panel.sums, and whether any value has its sign bit set.
inline void sum_taps(const AdderConv2dCall& call, AdderConv2dPanel& panel) {
    const AdderConv2dPlan& plan = call.plan;
    constexpr int64_t lanes = Vector::kLanes;
    Vector bits = Vector::broadcast(0.0f);
    for (int64_t i = 0; i < plan.channel_floats; i += lanes) {
        Vector sum = Vector::broadcast(0.0f);
        for (int64_t c = 0; c < call.shape.in_channels; ++c) {
            const Vector x = Vector::load(panel.values + c * plan.channel_floats + i);
            bits = either_bits(bits, x);
            sum = sum + x;
        }
        sum.store(panel.channel_sums + i);
    }
    std::fill_n(panel.channel_sums + plan.channel_floats, kAdderSlack, 0.0f);
    for (int64_t i = 0; i < plan.run(); i += lanes) {
        Vector sum = Vector::broadcast(0.0f);
        for (int64_t offset : plan.window) sum = sum + Vector::load(panel.channel_sums + offset + i);
        sum.store(panel.sums + i);
    }
    float any[lanes];
    bits.store(any);
    panel.may_take_maxima = std::none_of(any, any + lanes, [](float value) { return __builtin_signbit(value); });
}

inline void pack_tile(const AdderConv2dCall& call, const AdderTile& tile, AdderConv2dPanel& panel) {
    const AdderConv2dShape& s = call.shape;
    const int64_t plane = s.height * s.width;
    for (int64_t c = 0; c < s.in_channels; ++c)
        pack_channel(call, tile, call.x + (tile.image * s.in_channels + c) * plane,
                     panel.values + c * call.plan.channel_floats);
    std::fill_n(panel.values + s.in_channels * call.plan.channel_floats, kAdderSlack, 0.0f);
    panel.may_take_maxima = false;
    if (Vector::kHasMaximumOfBits && s.taps() >= kLeastTapsForMaxima) sum_taps(call, panel);
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
