// What kernels need of `Vector` beyond arithmetic: fused multiply-add, partial loads and stores,
// the exponential. Included by sources that are compiled once per instruction set (see vector.h).
#pragma once

#include "kernels/cpu/vector.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {

// Asks for memory that is read soon. Addresses outside of a buffer are harmless: nothing is loaded.
inline void prefetch(const float* p, int64_t floats) {
    for (int64_t i = 0; i < floats; i += 16) __builtin_prefetch(p + i);
}

#if defined(__AVX512F__)

inline Vector multiply_add(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.value, b.value, c.value)}; }

// v between -1 and 1; NaN stays, on all instruction sets.
inline Vector clip_to_one(Vector v) {
    const Vector above = maximum(Vector::broadcast(-1.0f), v);
    return {_mm512_maskz_min_ps(0xffff, _mm512_set1_ps(1.0f), above.value)};
}

// The first `count` lanes (0 to kLanes); memory past them is not touched, the other lanes are 0.
inline Vector load_first(const float* p, int64_t count) {
    return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p)};
}
inline void store_first(Vector v, float* p, int64_t count) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), v.value);
}

// v with 0 in all lanes but the first `count`.
inline Vector keep_first(Vector v, int64_t count) {
    return {_mm512_maskz_mov_ps(static_cast<__mmask16>((1u << count) - 1), v.value)};
}

// Every second lane of a followed by b, from lane 0 or 1.
inline Vector even_lanes(Vector a, Vector b) {
    const __m512i lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {_mm512_permutex2var_ps(a.value, lanes, b.value)};
}
inline Vector odd_lanes(Vector a, Vector b) {
    const __m512i lanes = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return {_mm512_permutex2var_ps(a.value, lanes, b.value)};
}

// v moved by a lane, up or down, with the value in all of `entering`'s lanes in the place left free.
inline Vector enter_first(Vector v, Vector entering) {
    const __m512i up = _mm512_castps_si512(v.value), in = _mm512_castps_si512(entering.value);
    return {_mm512_castsi512_ps(_mm512_maskz_alignr_epi32(0xffff, up, in, 15))};
}
inline Vector enter_last(Vector v, Vector entering) {
    const __m512i down = _mm512_castps_si512(v.value), in = _mm512_castps_si512(entering.value);
    return {_mm512_castsi512_ps(_mm512_maskz_alignr_epi32(0xffff, in, down, 1))};
}

// x * 2^n for whole n in [-151, 0], rounded once where the result is subnormal.
inline Vector scale_by_power(Vector x, Vector n, Vector /*n_plus_magic*/) {
    // The form with a mask: GCC 12 warns of an uninitialized value inside the plain one.
    return {_mm512_maskz_scalef_ps(0xffff, x.value, n.value)};
}

#elif defined(__AVX2__)

inline Vector multiply_add(Vector a, Vector b, Vector c) { return {_mm256_fmadd_ps(a.value, b.value, c.value)}; }

inline Vector clip_to_one(Vector v) {
    return {_mm256_min_ps(_mm256_set1_ps(1.0f), maximum(Vector::broadcast(-1.0f), v).value)};
}

inline __m256i first_lanes(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vector load_first(const float* p, int64_t count) { return {_mm256_maskload_ps(p, first_lanes(count))}; }
inline void store_first(Vector v, float* p, int64_t count) { _mm256_maskstore_ps(p, first_lanes(count), v.value); }
inline Vector keep_first(Vector v, int64_t count) {
    return {_mm256_and_ps(v.value, _mm256_castsi256_ps(first_lanes(count)))};
}

template <int Selection>
inline Vector alternate_lanes(Vector a, Vector b) {
    const __m256d halves = _mm256_castps_pd(_mm256_shuffle_ps(a.value, b.value, Selection));
    return {_mm256_castpd_ps(_mm256_permute4x64_pd(halves, 0xd8))};
}
inline Vector even_lanes(Vector a, Vector b) { return alternate_lanes<0x88>(a, b); }
inline Vector odd_lanes(Vector a, Vector b) { return alternate_lanes<0xdd>(a, b); }

inline Vector enter_first(Vector v, Vector entering) {
    const __m256 up = _mm256_permutevar8x32_ps(v.value, _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6));
    return {_mm256_blend_ps(up, entering.value, 0x01)};
}
inline Vector enter_last(Vector v, Vector entering) {
    const __m256 down = _mm256_permutevar8x32_ps(v.value, _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0));
    return {_mm256_blend_ps(down, entering.value, 0x80)};
}

// In two steps, since 2^n itself may be too small for a float.
inline Vector scale_by_power(Vector x, Vector /*n*/, Vector n_plus_magic) {
    const __m256i n = _mm256_sub_epi32(_mm256_castps_si256(n_plus_magic.value), _mm256_set1_epi32(0x4b400000));
    const __m256i half = _mm256_srai_epi32(n, 1), rest = _mm256_sub_epi32(n, half), bias = _mm256_set1_epi32(127);
    const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    const __m256 second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return {_mm256_mul_ps(_mm256_mul_ps(x.value, first), second)};
}

#else

inline Vector multiply_add(Vector a, Vector b, Vector c) { return a * b + c; }

inline Vector clip_to_one(Vector v) {
    const Vector one = Vector::broadcast(1.0f), above = maximum(Vector::broadcast(-1.0f), v);
    return {one.value < above.value ? one.value : above.value};
}

inline Vector load_first(const float* p, int64_t count) {
    float lanes[Vector::kLanes] = {};
    for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
    return Vector::load(lanes);
}
inline void store_first(Vector v, float* p, int64_t count) {
    float lanes[Vector::kLanes];
    v.store(lanes);
    for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}
inline Vector keep_first(Vector v, int64_t count) {
    float lanes[Vector::kLanes];
    v.store(lanes);
    return load_first(lanes, count);
}

inline Vector even_lanes(Vector a, Vector b) { return {__builtin_shuffle(a.value, b.value, Vector::Bits{0, 2, 4, 6})}; }
inline Vector odd_lanes(Vector a, Vector b) { return {__builtin_shuffle(a.value, b.value, Vector::Bits{1, 3, 5, 7})}; }

inline Vector enter_first(Vector v, Vector entering) {
    return {__builtin_shuffle(v.value, entering.value, Vector::Bits{4, 0, 1, 2})};
}
inline Vector enter_last(Vector v, Vector entering) {
    return {__builtin_shuffle(v.value, entering.value, Vector::Bits{1, 2, 3, 4})};
}

inline Vector scale_by_power(Vector x, Vector /*n*/, Vector n_plus_magic) {
    // Unsigned, so that the lanes of NaN, whose bits mean nothing here, wrap rather than overflow.
    typedef uint32_t Unsigned __attribute__((vector_size(16)));
    const Unsigned n = (Unsigned)n_plus_magic.value - 0x4b400000u;
    const Unsigned half = (Unsigned)((Vector::Bits)n >> 1), rest = n - half;
    const Vector::Lanes first = (Vector::Lanes)((half + 127u) << 23), second = (Vector::Lanes)((rest + 127u) << 23);
    return {x.value * first * second};
}

#endif

// As load_first; faster where all lanes are there.
inline Vector load_up_to(const float* p, int64_t count) {
    return count >= Vector::kLanes ? Vector::load(p) : load_first(p, count);
}

// The sum of all lanes, by halves.
inline float sum_of_lanes(Vector v) {
    float lanes[Vector::kLanes];
    v.store(lanes);
    for (int half = Vector::kLanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    return lanes[0];
}

// e^x for x <= 0, within 2 units in the last place; 0 below -104, NaN for NaN.
//
// x = n ln 2 + r with whole n and |r| <= ln 2 / 2; e^r by a polynomial of degree 6, fitted to
// relative error 6e-9 on that interval. Adding 1.5 * 2^23 rounds to a whole number and leaves it in
// the low bits. ln 2 is split so that n times its first part is exact.
inline Vector exponential_of_negative(Vector x) {
    const Vector magic = Vector::broadcast(12582912.0f);
    x = maximum(Vector::broadcast(-104.0f), x);  // in this order, so that NaN stays
    const Vector n_plus_magic = multiply_add(x, Vector::broadcast(1.44269504f), magic);
    const Vector n = n_plus_magic - magic;
    Vector r = multiply_add(n, Vector::broadcast(-0.693359375f), x);
    r = multiply_add(n, Vector::broadcast(2.12194440e-4f), r);
    Vector p = Vector::broadcast(1.3947609e-3f);
    p = multiply_add(p, r, Vector::broadcast(8.3698761e-3f));
    p = multiply_add(p, r, Vector::broadcast(4.1666247e-2f));
    p = multiply_add(p, r, Vector::broadcast(1.6666509e-1f));
    p = multiply_add(p, r, Vector::broadcast(0.5f));
    p = multiply_add(p, r, Vector::broadcast(1.0f));
    p = multiply_add(p, r, Vector::broadcast(1.0f));
    return scale_by_power(p, n, n_plus_magic);
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
