#include "kernels/cpu/bilinear_upsample_tile.h"

#include <algorithm>

#include "kernels/cpu/vector_math.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {
namespace {

constexpr int64_t kLanes = Vector::kLanes;

// Lane i holds p[i / Factor]; no more than kLanes / Factor floats are read.
template <int Factor>
Vector repeated(const float* p) {
#if defined(__AVX512F__)
    if constexpr (Factor == 2) {
        const __m512i lanes = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        return {_mm512_maskz_permutexvar_ps(0xffff, lanes, load_first(p, kLanes / 2).value)};
    } else {
        const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        return {_mm512_maskz_permutexvar_ps(0xffff, lanes, load_first(p, kLanes / 4).value)};
    }
#elif defined(__AVX2__)
    if constexpr (Factor == 2) {
        const __m256i lanes = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
        return {_mm256_permutevar8x32_ps(_mm256_zextps128_ps256(_mm_loadu_ps(p)), lanes)};
    } else {
        return {_mm256_set_m128(_mm_set1_ps(p[1]), _mm_set1_ps(p[0]))};
    }
#else
    if constexpr (Factor == 2)
        return {Vector::Lanes{p[0], p[0], p[1], p[1]}};
    else
        return Vector::broadcast(p[0]);
#endif
}

// How far between its two neighbors the q-th of Factor values lies.
template <int Factor>
constexpr float fraction(int64_t q) {
    return (static_cast<float>(q) + 0.5f) / Factor;
}

Vector between(Vector a, Vector b, Vector rest, Vector part) { return a * rest + b * part; }

// A row of X, Factor times as wide: values[0] lies half a column of X before the tile's first output, so that the
// tile's outputs start at values + Factor / 2.
template <int Factor>
void widen(const float* row, int64_t width, const BilinearUpsampleTile& tile, float* values) {
    // The tile's columns and a neighbor on either side, then what the last vector reads besides.
    float columns[kMaxUpsampledColumns / Factor + 2 + kLanes];
    const int64_t first = tile.first_column, count = tile.columns;
    columns[0] = row[std::max(first - 1, int64_t{0})];
    std::copy_n(row + first, count, columns + 1);
    columns[count + 1] = row[std::min(first + count, width - 1)];
    std::fill_n(columns + count + 2, kLanes, 0.0f);

    float parts[kLanes], rests[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
        parts[i] = fraction<Factor>(i % Factor);
        rests[i] = 1.0f - parts[i];
    }
    const Vector part = Vector::load(parts), rest = Vector::load(rests);
    // A vector more than there are outputs: blend reads whole ones.
    for (int64_t i = 0; i <= count + kLanes / Factor; i += kLanes / Factor)
        between(repeated<Factor>(columns + i), repeated<Factor>(columns + i + 1), rest, part)
            .store(values + Factor * i);
}

// A row of Y between two widened rows.
void blend(const float* above, const float* below, float fraction, int64_t count, float* y) {
    const Vector part = Vector::broadcast(fraction), rest = Vector::broadcast(1.0f - fraction);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
        between(Vector::load(above + i), Vector::load(below + i), rest, part).store(y + i);
    if (i < count) store_first(between(Vector::load(above + i), Vector::load(below + i), rest, part), y + i, count - i);
}

template <int Factor>
void upsample(const BilinearUpsampleShape& s, const float* x, float* y, const BilinearUpsampleTile& tile) {
    // Half a pixel before the first output and after the last, and what whole vectors reach beyond.
    constexpr int64_t kRoom = kMaxUpsampledColumns + Factor + 2 * kLanes;
    alignas(64) float rows[2][kLanes + kRoom];
    // Outputs of a widened row start with a cache line.
    float *above = rows[0] + kLanes - Factor / 2, *below = rows[1] + kLanes - Factor / 2;
    const auto widened = [&](int64_t row, float* values) {
        const int64_t inside = std::clamp(row, int64_t{0}, s.height - 1);
        widen<Factor>(x + (tile.plane * s.height + inside) * s.width, s.width, tile, values);
    };
    const int64_t first = tile.first_row * Factor, end = first + tile.rows * Factor, count = tile.columns * Factor;
    float* plane = y + tile.plane * s.out_height() * s.out_width() + tile.first_column * Factor;
    widened(tile.first_row - 1, above);
    for (int64_t row = tile.first_row; row <= tile.first_row + tile.rows; ++row) {
        widened(row, below);
        for (int64_t q = 0; q < Factor; ++q) {
            const int64_t out = row * Factor - Factor / 2 + q;
            if (out >= first && out < end)
                blend(above + Factor / 2, below + Factor / 2, fraction<Factor>(q), count, plane + out * s.out_width());
        }
        std::swap(above, below);
    }
}

void run_tile(const BilinearUpsampleShape& s, const float* x, float* y, const BilinearUpsampleTile& tile) {
    (s.factor == 2 ? upsample<2> : upsample<4>)(s, x, y, tile);
}

}  // namespace

BilinearUpsampleVariant bilinear_upsample_variant() { return {run_tile}; }

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
