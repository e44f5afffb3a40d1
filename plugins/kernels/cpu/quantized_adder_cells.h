// How rows of X become cells of a panel (see quantized_adder_conv2d_tile.h). Included by
// quantized_adder_panel.h, once per instruction set.
#pragma once

#include <algorithm>

#include "kernels/cpu/byte_vector.h"
#include "kernels/cpu/quantized_adder_conv2d_tile.h"

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

// Forms with a full mask: the plain ones make GCC 12 warn of an uninitialized value.

// Window cells of rows from the column of the first cell's first byte: four cells from 40 bytes.
class WindowRows {
public:
    WindowRows(const SourceRow& any, int64_t first, int64_t cells) : first_(first), cells_(cells) {
        for (int64_t i = 0; i < cells; i += 4) inside_[i / 4] = inside_mask(any, first + i * 8, 40);
        padding_ = _mm_set1_epi8(static_cast<char>(any.padding));
        flip_ = _mm_set1_epi8(static_cast<char>(any.flip));
    }

    // A store that lies across two cache lines takes two turns: the last one or two cells are stored alone.
    void write(const SourceRow& row, uint8_t* out) const {
        const uint8_t* values = row.values + first_;
        for (int64_t i = 0; i < cells_; i += 4, values += 32, out += 64) {
            const __mmask64 inside = row.width ? inside_[i / 4] : 0;
            if (cells_ - i == 1) {
                const __m128i cell = _mm_mask_loadu_epi8(padding_, static_cast<__mmask16>(inside), values);
                _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_xor_si128(cell, flip_));
            } else if (cells_ - i == 2) {
                const __m256i bytes = _mm256_mask_loadu_epi8(_mm256_broadcastsi128_si256(padding_),
                                                             static_cast<__mmask32>(inside), values);
                const __m256i cells = _mm256_permute4x64_epi64(bytes, _MM_SHUFFLE(2, 1, 1, 0));
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                                    _mm256_xor_si256(cells, _mm256_broadcastsi128_si256(flip_)));
            } else {
                const __m512i overlapping = _mm512_setr_epi64(0, 1, 1, 2, 2, 3, 3, 4);
                const __m512i bytes =
                    _mm512_mask_loadu_epi8(_mm512_maskz_broadcast_i32x4(0xffff, padding_), inside, values);
                const __m512i cells = _mm512_maskz_permutexvar_epi64(0xff, overlapping, bytes);
                _mm512_storeu_si512(out, _mm512_xor_si512(cells, _mm512_maskz_broadcast_i32x4(0xffff, flip_)));
            }
        }
    }

private:
    int64_t first_, cells_;
    __m128i padding_, flip_;
    uint64_t inside_[kMaxQuantizedTilePixels / 32];
};

// 16 columns, `stride` apart, of rows that lie alike: those of several channels.
class Columns {
public:
    Columns(const SourceRow& any, int64_t first, int64_t stride)
        : row_(any), first_(first), stride_(stride), inside_(inside_mask(any, first, stride == 2 ? 31 : 16)) {}

    __m128i read(const uint8_t* values) const {
        const __m256i padding = _mm256_set1_epi8(static_cast<char>(row_.padding));
        const __m128i flip = _mm_set1_epi8(static_cast<char>(row_.flip));
        if (stride_ == 1)
            return _mm_xor_si128(flip, _mm_mask_loadu_epi8(_mm256_castsi256_si128(padding),
                                                           static_cast<__mmask16>(inside_), values + first_));
        if (stride_ == 2) {
            const __m256i pairs = _mm256_mask_loadu_epi8(padding, static_cast<__mmask32>(inside_), values + first_);
            return _mm_xor_si128(flip, _mm256_maskz_cvtepi16_epi8(0xffff, pairs));
        }
        alignas(16) uint8_t columns[16];
        read_columns({values, row_.width, row_.padding, row_.flip}, first_, stride_, 16, columns);
        return _mm_xor_si128(flip, _mm_load_si128(reinterpret_cast<const __m128i*>(columns)));
    }

private:
    SourceRow row_;
    int64_t first_, stride_;
    uint64_t inside_;
};

#else

class WindowRows {
public:
    WindowRows(const SourceRow&, int64_t first, int64_t cells) : first_(first), cells_(cells) {}

    void write(const SourceRow& row, uint8_t* out) const {
        for (int64_t cell = 0; cell < cells_; ++cell, out += 16) {
            read_columns(row, first_ + cell * 8, 1, 16, out);
            for (int i = 0; i < 16; ++i) out[i] ^= row.flip;
        }
    }

private:
    int64_t first_, cells_;
};

#if defined(__SSE2__)
class Columns {
public:
    Columns(const SourceRow& any, int64_t first, int64_t stride)
        : row_(any),
          first_(first),
          stride_(stride),
          inside_(first >= 0 && first + (stride == 2 ? 32 : 16) <= any.width && stride <= 2) {}

    __m128i read(const uint8_t* values) const {
        const __m128i flip = _mm_set1_epi8(static_cast<char>(row_.flip));
        const auto* from = reinterpret_cast<const __m128i*>(values + first_);
        if (inside_ && stride_ == 1) return _mm_xor_si128(flip, _mm_loadu_si128(from));
        if (inside_) {
            const __m128i even = _mm_set1_epi16(0xff);
            return _mm_xor_si128(flip, _mm_packus_epi16(_mm_and_si128(even, _mm_loadu_si128(from)),
                                                        _mm_and_si128(even, _mm_loadu_si128(from + 1))));
        }
        alignas(16) uint8_t columns[16];
        read_columns({values, row_.width, row_.padding, row_.flip}, first_, stride_, 16, columns);
        return _mm_xor_si128(flip, _mm_load_si128(reinterpret_cast<const __m128i*>(columns)));
    }

private:
    SourceRow row_;
    int64_t first_, stride_;
    bool inside_;
};
#endif

#endif

// 16 channel cells: out[i * 8 + k] = channel k's row at column first + i * stride, 0 for k past
// `channels`. row: channel 0's; those of the others follow `plane` bytes apart.
inline void write_channels(const SourceRow& row, int64_t plane, int64_t channels, int64_t first, int64_t stride,
                           uint8_t* out) {
#if defined(__SSE2__)
    const Columns columns(row, first, stride);
    __m128i r[8];
    for (int k = 0; k < 8; ++k) r[k] = k < channels ? columns.read(row.values + k * plane) : _mm_setzero_si128();
    const auto interleave = [](__m128i pair0, __m128i pair1, __m128i pair2, __m128i pair3, uint8_t* to) {
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
        read_columns({row.values + k * plane, row.width, row.padding, row.flip}, first, stride, 16, columns);
        for (int64_t i = 0; i < 16; ++i) out[i * 8 + k] = columns[i] ^ row.flip;
    }
#endif
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
