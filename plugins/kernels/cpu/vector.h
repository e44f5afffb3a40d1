// One float vector type per instruction set. A kernel source is compiled once for each set with
// that set's compiler flags and sees its own `Vector`; the enclosing namespace is named after the
// set, so that no inline function compiled for AVX-512 can be merged into code for older CPUs.
#pragma once

#include <cstdint>

#if defined(__AVX512F__)
#include <immintrin.h>
#define ADROIT_INSTRUCTION_SET avx512
#elif defined(__AVX2__)
#include <immintrin.h>
#define ADROIT_INSTRUCTION_SET avx2
#else
#define ADROIT_INSTRUCTION_SET generic
#endif

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {

#if defined(__AVX512F__)

struct Vector {
    static constexpr int kLanes = 16;
    __m512 value;
    static Vector load(const float* p) { return {_mm512_loadu_ps(p)}; }
    static Vector broadcast(float x) { return {_mm512_set1_ps(x)}; }
    void store(float* p) const { _mm512_storeu_ps(p, value); }
    friend Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.value, b.value)}; }
    friend Vector operator-(Vector a, Vector b) { return {_mm512_sub_ps(a.value, b.value)}; }
    friend Vector operator*(Vector a, Vector b) { return {_mm512_mul_ps(a.value, b.value)}; }
    // The masked form with a full mask: the plain one makes GCC 12 warn of an uninitialized value.
    friend Vector maximum(Vector a, Vector b) { return {_mm512_maskz_max_ps(0xffff, a.value, b.value)}; }
    friend Vector absolute(Vector a) { return {_mm512_abs_ps(a.value)}; }
    // As maximum, by the bits as whole numbers: right where no lane of a has its sign bit set. On some CPUs this runs
    // beside additions, which the other does not (Zen 5: twice as many pairs of both a cycle).
    static constexpr bool kHasMaximumOfBits = true;
    friend Vector maximum_of_bits(Vector a, Vector b) {
        const __m512i bits = _mm512_maskz_max_epi32(0xffff, _mm512_castps_si512(a.value), _mm512_castps_si512(b.value));
        return {_mm512_castsi512_ps(bits)};
    }
    friend Vector either_bits(Vector a, Vector b) { return {_mm512_or_ps(a.value, b.value)}; }
    // Whether not a >= b in any lane.
    friend bool any_below(Vector a, Vector b) { return _mm512_cmp_ps_mask(a.value, b.value, _CMP_NGE_UQ) != 0; }
};

#elif defined(__AVX2__)

struct Vector {
    static constexpr int kLanes = 8;
    __m256 value;
    static Vector load(const float* p) { return {_mm256_loadu_ps(p)}; }
    static Vector broadcast(float x) { return {_mm256_set1_ps(x)}; }
    void store(float* p) const { _mm256_storeu_ps(p, value); }
    friend Vector operator+(Vector a, Vector b) { return {_mm256_add_ps(a.value, b.value)}; }
    friend Vector operator-(Vector a, Vector b) { return {_mm256_sub_ps(a.value, b.value)}; }
    friend Vector operator*(Vector a, Vector b) { return {_mm256_mul_ps(a.value, b.value)}; }
    friend Vector maximum(Vector a, Vector b) { return {_mm256_max_ps(a.value, b.value)}; }
    friend Vector absolute(Vector a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.value)}; }
    static constexpr bool kHasMaximumOfBits = true;  // see above
    friend Vector maximum_of_bits(Vector a, Vector b) {
        const __m256i bits = _mm256_max_epi32(_mm256_castps_si256(a.value), _mm256_castps_si256(b.value));
        return {_mm256_castsi256_ps(bits)};
    }
    friend Vector either_bits(Vector a, Vector b) { return {_mm256_or_ps(a.value, b.value)}; }
    friend bool any_below(Vector a, Vector b) {
        return _mm256_movemask_ps(_mm256_cmp_ps(a.value, b.value, _CMP_NGE_UQ)) != 0;
    }
};

#else

// Four lanes in the compiler's own vector extension: SSE2 on x86-64, NEON on Arm.
struct Vector {
    static constexpr int kLanes = 4;
    typedef float Lanes __attribute__((vector_size(16)));
    typedef int32_t Bits __attribute__((vector_size(16)));
    Lanes value;
    static Vector load(const float* p) {
        Vector v;
        __builtin_memcpy(&v.value, p, sizeof(v.value));
        return v;
    }
    static Vector broadcast(float x) { return {Lanes{x, x, x, x}}; }
    void store(float* p) const { __builtin_memcpy(p, &value, sizeof(value)); }
    friend Vector operator+(Vector a, Vector b) { return {a.value + b.value}; }
    friend Vector operator-(Vector a, Vector b) { return {a.value - b.value}; }
    friend Vector operator*(Vector a, Vector b) { return {a.value * b.value}; }
    friend Vector maximum(Vector a, Vector b) { return {a.value > b.value ? a.value : b.value}; }
    friend Vector absolute(Vector a) { return {(Lanes)((Bits)a.value & 0x7fffffff)}; }
    static constexpr bool kHasMaximumOfBits = false;  // SSE2 has no such instruction
    friend Vector either_bits(Vector a, Vector b) { return {(Lanes)((Bits)a.value | (Bits)b.value)}; }
};

#endif

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
