// From exact sums to outputs, in the order of float32 operations that plugins/operators.toml defines.
// Included by quantised_adder_conv2d_tile.cpp, once per instruction set. Built with -ffp-contract=off:
// a fused multiply-add would round once where the definition rounds twice.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/cpu/quantised_adder_conv2d_tile.h"
#include "kernels/cpu/vector.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {

// Where the outputs of a tile lie. What is between the rows' ends is computed and dropped, so that the
// loops below have no remainder.
struct TileRows {
    int64_t rows, columns, pitch;     // in the tile
    int64_t plane_first, plane_step;  // in a plane of Y

    int64_t pixels() const { return (rows - 1) * pitch + columns; }
    int64_t run() const { return (pixels() + 63) / 64 * 64; }  // whole vectors of any kind
};

template <typename Value>
void read_rows(const TileRows& tile, const Value* plane, Value* run) {
    for (int64_t r = 0; r < tile.rows; ++r)
        std::memcpy(run + r * tile.pitch, plane + tile.plane_first + r * tile.plane_step,
                    static_cast<size_t>(tile.columns) * sizeof(Value));
}

template <typename Value>
void write_rows(const TileRows& tile, const Value* run, Value* plane) {
    for (int64_t r = 0; r < tile.rows; ++r)
        std::memcpy(plane + tile.plane_first + r * tile.plane_step, run + r * tile.pitch,
                    static_cast<size_t>(tile.columns) * sizeof(Value));
}

inline void apply_scale(const uint32_t* __restrict sums, int64_t count, float scale, float shift,
                        float* __restrict values) {
    // Through int32, which converts in one instruction; sums are below 2^24.
    for (int64_t i = 0; i < count; ++i) values[i] = shift - scale * static_cast<float>(static_cast<int32_t>(sums[i]));
}

template <typename Integer>
void add_residual(const Integer* __restrict residual, int64_t count, float scale, int32_t zero_point,
                  float* __restrict values) {
    for (int64_t i = 0; i < count; ++i)
        values[i] = values[i] + scale * static_cast<float>(static_cast<int32_t>(residual[i]) - zero_point);
}

inline void rectify(int64_t count, float* values) {
    // A comparison that is false for NaN keeps NaN, as the frameworks' ReLU does.
    for (int64_t i = 0; i < count; ++i) values[i] = values[i] < 0.0f ? 0.0f : values[i];
}

template <typename Integer>
void quantise(const float* __restrict values, int64_t count, float scale, int32_t zero_point, Integer* __restrict out) {
    // Saturated before rounding: the limits are whole, so the order does not matter. NaN becomes the lower one.
    const float low = static_cast<float>(std::numeric_limits<Integer>::min() - zero_point);
    const float high = static_cast<float>(std::numeric_limits<Integer>::max() - zero_point);
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers, half to even
    for (int64_t i = 0; i < count; ++i) {
        float steps = values[i] / scale;
        steps = steps > low ? steps : low;
        steps = steps < high ? steps : high;
        steps = (steps + magic) - magic;
        out[i] = static_cast<Integer>(static_cast<int32_t>(steps) + zero_point);
    }
}

// One filter's outputs of a tile. sums: kTileRun long at least.
template <typename Integer>
void finish_filter(const QuantisedAdderEpilogue& epilogue, const TileRows& tile, const uint32_t* sums, int64_t filter,
                   int64_t plane, void* y) {
    alignas(64) float values[kTileRun];
    alignas(64) Integer bytes[kTileRun];
    const int64_t count = tile.run();
    apply_scale(sums, count, epilogue.scale[filter], epilogue.shift[filter], values);
    if (epilogue.residual) {
        std::fill_n(bytes, count, Integer{0});
        read_rows(tile, static_cast<const Integer*>(epilogue.residual) + plane, bytes);
        add_residual(bytes, count, epilogue.residual_scale, epilogue.residual_zero_point, values);
    }
    if (epilogue.relu) rectify(count, values);
    if (!epilogue.quantised) return write_rows(tile, values, static_cast<float*>(y) + plane);
    quantise(values, count, epilogue.output_scale, epilogue.output_zero_point, bytes);
    write_rows(tile, bytes, static_cast<Integer*>(y) + plane);
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
