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

// copy(place in the tile's run, place in a plane, count) for pieces that are contiguous in both.
template <typename Copy>
void for_each_piece(const TileRows& tile, const Copy& copy) {
    if (tile.pitch == tile.columns && tile.plane_step == tile.columns)
        return copy(0, tile.plane_first, tile.rows * tile.columns);
    for (int64_t r = 0; r < tile.rows; ++r) copy(r * tile.pitch, tile.plane_first + r * tile.plane_step, tile.columns);
}

template <typename Value>
void read_rows(const TileRows& tile, const Value* plane, Value* run) {
    for_each_piece(tile, [&](int64_t at, int64_t in_plane, int64_t count) {
        std::memcpy(run + at, plane + in_plane, static_cast<size_t>(count) * sizeof(Value));
    });
}

template <typename Value>
void write_rows(const TileRows& tile, const Value* run, Value* plane) {
    for_each_piece(tile, [&](int64_t at, int64_t in_plane, int64_t count) {
        std::memcpy(plane + in_plane, run + at, static_cast<size_t>(count) * sizeof(Value));
    });
}

// What one filter's sums become. Members in the order of the operations.
struct Finish {
    float scale, shift, residual_scale;
    int32_t residual_zero_point;
    float least;  // of a value: 0 for ReLU
    float output_scale;
    int32_t output_zero_point;

    Finish(const QuantisedAdderEpilogue& e, int64_t filter)
        : scale(e.scale[filter]),
          shift(e.shift[filter]),
          residual_scale(e.residual_scale),
          residual_zero_point(e.residual_zero_point),
          least(e.relu ? 0.0f : -std::numeric_limits<float>::infinity()),
          output_scale(e.output_scale),
          output_zero_point(e.output_zero_point) {}
};

// residual: null, or one value for each sum. One loop, so that values stay in registers.
template <bool HasResidual, typename Integer>
void finish_values(const Finish& f, const uint32_t* __restrict sums, const Integer* __restrict residual, int64_t count,
                   float* __restrict values) {
    for (int64_t i = 0; i < count; ++i) {
        // Through int32, which converts in one instruction; sums are below 2^24.
        float value = f.shift - f.scale * static_cast<float>(static_cast<int32_t>(sums[i]));
        if constexpr (HasResidual)
            value = value +
                    f.residual_scale * static_cast<float>(static_cast<int32_t>(residual[i]) - f.residual_zero_point);
        // A comparison that is false for NaN keeps NaN, as the frameworks' ReLU does.
        values[i] = value < f.least ? f.least : value;
    }
}

template <typename Integer>
void quantise(const Finish& f, const float* __restrict values, int64_t count, Integer* __restrict out) {
    // Saturated before rounding: the limits are whole, so the order does not matter. NaN becomes the lower one.
    const float low = static_cast<float>(std::numeric_limits<Integer>::min() - f.output_zero_point);
    const float high = static_cast<float>(std::numeric_limits<Integer>::max() - f.output_zero_point);
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers, half to even
    for (int64_t i = 0; i < count; ++i) {
        float steps = values[i] / f.output_scale;
        steps = steps > low ? steps : low;
        steps = steps < high ? steps : high;
        steps = (steps + magic) - magic;
        out[i] = static_cast<Integer>(static_cast<int32_t>(steps) + f.output_zero_point);
    }
}

// One filter's outputs of a tile. sums: kTileRun long at least.
template <typename Integer>
void finish_filter(const QuantisedAdderEpilogue& epilogue, const TileRows& tile, const uint32_t* sums, int64_t filter,
                   int64_t plane, void* y) {
    alignas(64) float values[kTileRun];
    alignas(64) Integer bytes[kTileRun];
    const int64_t count = tile.run();
    const Finish finish(epilogue, filter);
    if (epilogue.residual) {
        std::fill_n(bytes, count, Integer{0});
        read_rows(tile, static_cast<const Integer*>(epilogue.residual) + plane, bytes);
        finish_values<true>(finish, sums, bytes, count, values);
    } else {
        finish_values<false, Integer>(finish, sums, nullptr, count, values);
    }
    if (!epilogue.quantised) return write_rows(tile, values, static_cast<float*>(y) + plane);
    quantise(finish, values, count, bytes);
    write_rows(tile, bytes, static_cast<Integer*>(y) + plane);
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
