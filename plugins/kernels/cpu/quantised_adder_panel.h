// Repacks the part of X that a tile of the quantised adder convolution reads into cells (see
// quantised_adder_conv2d_tile.h). Included by quantised_adder_conv2d_tile.cpp, once per instruction set.
//
// Cells are written in order of their addresses, several at a time; those written past the end of a
// row are then overwritten by the next row's, and the panel has room for those past the last.
#pragma once

#include <algorithm>

#include "kernels/cpu/byte_vector.h"
#include "kernels/cpu/quantised_adder_conv2d_tile.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {

// One row of X, or of the padding above and below, which has width 0.
struct SourceRow {
    const uint8_t* values;
    int64_t width;
    uint8_t padding, flip;  // flip: 0x80 makes signed bytes unsigned ones with the same differences
};

// Bit i is set where column first + i lies inside the row, for i in [0, count).
inline uint64_t inside_mask(const SourceRow& row, int64_t first, int64_t count) {
    const auto bits = [](int64_t n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; };
    const int64_t begin = std::clamp(-first, int64_t{0}, count), end = std::clamp(row.width - first, begin, count);
    return bits(end) & ~bits(begin);
}

// out[i] = the row at column first + i * stride, padding outside of it; not flipped.
inline void read_columns(const SourceRow& row, int64_t first, int64_t stride, int64_t count, uint8_t* out) {
    if (stride == 1 && first >= 0 && first + count <= row.width) {
        std::memcpy(out, row.values + first, static_cast<size_t>(count));
        return;
    }
    for (int64_t i = 0, column = first; i < count; ++i, column += stride)
        out[i] = column >= 0 && column < row.width ? row.values[column] : row.padding;
}

#if defined(__AVX512F__)

// Forms with a full mask: the plain ones make GCC 12 warn of an uninitialised value.

// Window cells from the column of the first cell's first byte.
inline void write_windows(const SourceRow& row, int64_t first, int64_t cells, uint8_t* out) {
    const __m512i padding = _mm512_set1_epi8(static_cast<char>(row.padding));
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(row.flip));
    const __m512i overlapping = _mm512_setr_epi64(0, 1, 1, 2, 2, 3, 3, 4);
    for (int64_t done = 0; done < cells; done += 4) {
        const int64_t column = first + done * 8;
        const __m512i bytes = _mm512_mask_loadu_epi8(padding, inside_mask(row, column, 40), row.values + column);
        _mm512_storeu_si512(out + done * 16,
                            _mm512_xor_si512(_mm512_maskz_permutexvar_epi64(0xff, overlapping, bytes), flip));
    }
}

inline __m128i read_16_columns(const SourceRow& row, int64_t first, int64_t stride) {
    const __m256i padding = _mm256_set1_epi8(static_cast<char>(row.padding));
    __m128i values;
    if (stride == 1) {
        const auto inside = static_cast<__mmask16>(inside_mask(row, first, 16));
        values = _mm_mask_loadu_epi8(_mm256_castsi256_si128(padding), inside, row.values + first);
    } else if (stride == 2) {
        const auto inside = static_cast<__mmask32>(inside_mask(row, first, 31));
        values = _mm256_maskz_cvtepi16_epi8(0xffff, _mm256_mask_loadu_epi8(padding, inside, row.values + first));
    } else {
        alignas(16) uint8_t columns[16];
        read_columns(row, first, stride, 16, columns);
        values = _mm_load_si128(reinterpret_cast<const __m128i*>(columns));
    }
    return _mm_xor_si128(values, _mm_set1_epi8(static_cast<char>(row.flip)));
}

#else

inline void write_windows(const SourceRow& row, int64_t first, int64_t cells, uint8_t* out) {
    for (int64_t cell = 0; cell < cells; ++cell, first += 8, out += 16) {
        read_columns(row, first, 1, 16, out);
        for (int i = 0; i < 16; ++i) out[i] ^= row.flip;
    }
}

#if defined(__SSE2__)
inline __m128i read_16_columns(const SourceRow& row, int64_t first, int64_t stride) {
    alignas(16) uint8_t columns[16];
    read_columns(row, first, stride, 16, columns);
    return _mm_xor_si128(_mm_load_si128(reinterpret_cast<const __m128i*>(columns)),
                         _mm_set1_epi8(static_cast<char>(row.flip)));
}
#endif

#endif

// 16 channel cells: out[i * 8 + k] = rows[k] at column first + i * stride, 0 for k past `channels`.
inline void write_channels(const SourceRow* rows, int64_t channels, int64_t first, int64_t stride, uint8_t* out) {
#if defined(__SSE2__)
    __m128i r[8];
    for (int k = 0; k < 8; ++k) r[k] = k < channels ? read_16_columns(rows[k], first, stride) : _mm_setzero_si128();
    const auto interleave = [&](__m128i pair0, __m128i pair1, __m128i pair2, __m128i pair3, uint8_t* to) {
        const __m128i low[] = {_mm_unpacklo_epi16(pair0, pair1), _mm_unpackhi_epi16(pair0, pair1)};
        const __m128i high[] = {_mm_unpacklo_epi16(pair2, pair3), _mm_unpackhi_epi16(pair2, pair3)};
        for (int i = 0; i < 2; ++i) {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32 * i), _mm_unpacklo_epi32(low[i], high[i]));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32 * i + 16), _mm_unpackhi_epi32(low[i], high[i]));
        }
    };
    interleave(_mm_unpacklo_epi8(r[0], r[1]), _mm_unpacklo_epi8(r[2], r[3]), _mm_unpacklo_epi8(r[4], r[5]),
               _mm_unpacklo_epi8(r[6], r[7]), out);
    interleave(_mm_unpackhi_epi8(r[0], r[1]), _mm_unpackhi_epi8(r[2], r[3]), _mm_unpackhi_epi8(r[4], r[5]),
               _mm_unpackhi_epi8(r[6], r[7]), out + 64);
#else
    std::memset(out, 0, 128);
    for (int64_t k = 0; k < channels; ++k) {
        uint8_t columns[16];
        read_columns(rows[k], first, stride, 16, columns);
        for (int64_t i = 0; i < 16; ++i) out[i * 8 + k] = columns[i] ^ rows[k].flip;
    }
#endif
}

inline SourceRow source_row(const QuantisedAdderCall& call, int64_t image, int64_t channel, int64_t row) {
    const AdderConv2dShape& s = call.shape;
    const bool inside = row >= 0 && row < s.height;
    const int64_t index = (image * s.in_channels + channel) * s.height + (inside ? row : 0);
    return {static_cast<const uint8_t*>(call.x.values) + index * s.width, inside ? s.width : 0,
            static_cast<uint8_t>(call.x.zero_point), static_cast<uint8_t>(call.x.is_signed ? 0x80 : 0)};
}

// The whole panel of a tile. Rows of X past those that the tile's own outputs need are packed too
// where the tile has fewer rows than the plan's: their sums are not used.
inline void pack_panel(const QuantisedAdderCall& call, const QuantisedAdderTile& tile, uint8_t* out) {
    const AdderConv2dShape& s = call.shape;
    const QuantisedAdderPlan& plan = call.plan;
    const int64_t row_bytes = plan.packed_cells * plan.cell_bytes, channels_per_block = plan.windows ? 1 : 8;
    const int64_t first_column = tile.first_column * s.stride_width - s.pad_left;
    for (int64_t block = 0; block < plan.blocks; ++block) {
        const int64_t channel = block * channels_per_block;
        const int64_t channels = std::min(channels_per_block, s.in_channels - channel);
        for (int64_t down = 0; down < plan.phases_down; ++down)
            for (int64_t along = 0; along < plan.phases_along; ++along)
                for (int64_t i = 0; i < plan.packed_rows; ++i, out += row_bytes) {
                    const int64_t row = (tile.first_row + i) * s.stride_height + down - s.pad_top;
                    SourceRow rows[8];
                    for (int64_t k = 0; k < channels; ++k) rows[k] = source_row(call, tile.image, channel + k, row);
                    if (plan.windows) {
                        write_windows(rows[0], first_column, plan.packed_cells, out);
                        continue;
                    }
                    for (int64_t j = 0; j < plan.packed_cells; j += 16)
                        write_channels(rows, channels, first_column + j * s.stride_width + along, s.stride_width,
                                       out + j * 8);
                }
    }
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
