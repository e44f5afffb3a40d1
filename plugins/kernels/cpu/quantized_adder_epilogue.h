// From exact sums to outputs, in the order of float32 operations that plugins/operators.toml defines.
// Included by quantized_adder_conv2d_tile.cpp, once per instruction set. Built with -ffp-contract=off:
// a fused multiply-add would round once where the definition rounds twice.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/cpu/quantized_adder_conv2d_tile.h"
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

// The tile's rows, between its run and a plane. Short rows that are dense in the plane go in pieces of a fixed size,
// since calls to copy them take as long as the arithmetic: what lies past a row's end is written again with the next
// row, and no piece reaches past the last.
template <typename Value>
void move_rows(const TileRows& tile, const Value* from, int64_t from_step, Value* to, int64_t to_step) {
    constexpr int64_t piece = 8, short_row = 32;
    const auto copy = [](Value* out, const Value* in, int64_t count) {
        std::memcpy(out, in, static_cast<size_t>(count) * sizeof(Value));
    };
    const bool dense = tile.plane_step == tile.columns;
    if (dense && tile.pitch == tile.columns) return copy(to, from, tile.rows * tile.columns);
    for (int64_t r = 0; r < tile.rows; ++r, from += from_step, to += to_step) {
        const int64_t left = dense && tile.columns <= short_row ? (tile.rows - r) * tile.columns : 0;
        int64_t i = 0;
        for (; i < tile.columns && i + piece <= left; i += piece) copy(to + i, from + i, piece);
        if (i < tile.columns) copy(to + i, from + i, tile.columns - i);
    }
}

template <typename Value>
void read_rows(const TileRows& tile, const Value* plane, Value* run) {
    move_rows(tile, plane + tile.plane_first, tile.plane_step, run, tile.pitch);
}

template <typename Value>
void write_rows(const TileRows& tile, const Value* run, Value* plane) {
    move_rows(tile, run, tile.pitch, plane + tile.plane_first, tile.plane_step);
}

// What one filter's sums become. Members in the order of the operations.
struct Finish {
    float scale, shift, residual_scale;
    int32_t residual_zero_point;
    float least;  // of a value: 0 for ReLU
    float output_scale;
    int32_t output_zero_point;

    Finish(const QuantizedAdderEpilogue& e, int64_t filter)
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
void quantize(const Finish& f, const float* __restrict values, int64_t count, Integer* __restrict out) {
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

#if defined(__AVX512F__)

// finish_values and quantize at once, by hand: what GCC 12 makes of them takes twice as long. Forms with a full mask:
// see quantized_adder_cells.h. Of a NaN a maximum is its second operand.
template <bool HasResidual, typename Integer>
void finish_integers(const Finish& f, const uint32_t* sums, const Integer* residual, int64_t count, Integer* out) {
    constexpr bool is_signed = std::numeric_limits<Integer>::is_signed;
    constexpr __mmask16 all = 0xffff;
    const __m512 low = _mm512_set1_ps(static_cast<float>(std::numeric_limits<Integer>::min() - f.output_zero_point));
    const __m512 high = _mm512_set1_ps(static_cast<float>(std::numeric_limits<Integer>::max() - f.output_zero_point));
    const auto to_float = [](__m512i whole) { return _mm512_maskz_cvtepi32_ps(all, whole); };
    for (int64_t i = 0; i < count; i += 16) {
        const __m512 product = _mm512_mul_ps(_mm512_set1_ps(f.scale), to_float(_mm512_loadu_si512(sums + i)));
        __m512 value = _mm512_sub_ps(_mm512_set1_ps(f.shift), product);
        if constexpr (HasResidual) {
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(residual + i));
            const __m512i whole =
                is_signed ? _mm512_maskz_cvtepi8_epi32(all, bytes) : _mm512_maskz_cvtepu8_epi32(all, bytes);
            const __m512 real = to_float(_mm512_sub_epi32(whole, _mm512_set1_epi32(f.residual_zero_point)));
            value = _mm512_add_ps(value, _mm512_mul_ps(_mm512_set1_ps(f.residual_scale), real));
        }
        value = _mm512_maskz_max_ps(all, _mm512_set1_ps(f.least), value);
        __m512 steps = _mm512_div_ps(value, _mm512_set1_ps(f.output_scale));
        steps = _mm512_maskz_min_ps(all, _mm512_maskz_max_ps(all, steps, low), high);
        const __m512i rounded =
            _mm512_maskz_cvt_roundps_epi32(all, steps, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const __m512i moved = _mm512_add_epi32(rounded, _mm512_set1_epi32(f.output_zero_point));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm512_maskz_cvtepi32_epi8(all, moved));
    }
}

#else

template <bool HasResidual, typename Integer>
void finish_integers(const Finish& f, const uint32_t* sums, const Integer* residual, int64_t count, Integer* out) {
    alignas(64) float values[kTileRun];
    finish_values<HasResidual>(f, sums, residual, count, values);
    quantize(f, values, count, out);
}

#endif

// One filter's outputs of a tile. sums: kTileRun long at least.
template <bool HasResidual, typename Integer>
void finish_run(const QuantizedAdderEpilogue& epilogue, const TileRows& tile, const uint32_t* sums,
                const Integer* residual, int64_t filter, int64_t plane, void* y) {
    const Finish finish(epilogue, filter);
    if (epilogue.quantized) {
        alignas(64) Integer integers[kTileRun];
        finish_integers<HasResidual>(finish, sums, residual, tile.run(), integers);
        return write_rows(tile, integers, static_cast<Integer*>(y) + plane);
    }
    alignas(64) float values[kTileRun];
    finish_values<HasResidual>(finish, sums, residual, tile.run(), values);
    write_rows(tile, values, static_cast<float*>(y) + plane);
}

template <typename Integer>
void finish_filter(const QuantizedAdderEpilogue& epilogue, const TileRows& tile, const uint32_t* sums, int64_t filter,
                   int64_t plane, void* y) {
    if (!epilogue.residual) return finish_run<false, Integer>(epilogue, tile, sums, nullptr, filter, plane, y);
    alignas(64) Integer residual[kTileRun];
    std::fill_n(residual, tile.run(), Integer{0});
    read_rows(tile, static_cast<const Integer*>(epilogue.residual) + plane, residual);
    finish_run<true, Integer>(epilogue, tile, sums, residual, filter, plane, y);
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
