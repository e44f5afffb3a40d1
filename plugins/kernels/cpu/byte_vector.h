// One vector of bytes per instruction set, for sums of absolute differences (see vector.h for the
// scheme). Weights are broadcast in groups of 4 or 8 bytes; results are 16-bit counts inside the
// vector.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/vector.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {

template <typename Group>
Group load_group(const uint8_t* p) {
    Group group;
    std::memcpy(&group, p, sizeof(group));
    return group;
}

#if defined(__AVX512F__)

struct Bytes {
    static constexpr int64_t kBytes = 64;
    static constexpr bool kHasWindows = true;
    static bool windows_are_fast() { return true; }
    __m512i value;
    static Bytes zero() { return {_mm512_setzero_si512()}; }
    static Bytes load(const void* p) { return {_mm512_loadu_si512(p)}; }
    // 16-bit numbers, each in 32 bits. (Masked: see WindowRows.)
    static Bytes load_words(const uint16_t* p) {
        return {_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
    }
    static Bytes broadcast4(const uint8_t* p) { return {_mm512_set1_epi32(load_group<int32_t>(p))}; }
    static Bytes broadcast8(const uint8_t* p) { return {_mm512_set1_epi64(load_group<int64_t>(p))}; }
    void store(void* p) const { _mm512_storeu_si512(p, value); }
    // Both add words, since here none overflows: on some CPUs the saturating one has a port of its own beside the
    // differences', on others the plain one has (`saturating_add_is_fast`).
    // In place, by hand: GCC 12 otherwise copies, and spills, the counts of a whole register block.
    friend Bytes add16_saturating(Bytes a, Bytes b) {
        asm("vpaddusw %1, %0, %0" : "+v"(a.value) : "v"(b.value));
        return a;
    }
    friend Bytes add16(Bytes a, Bytes b) {
        asm("vpaddw %1, %0, %0" : "+v"(a.value) : "v"(b.value));
        return a;
    }
    friend Bytes add32(Bytes a, Bytes b) {
        asm("vpaddd %1, %0, %0" : "+v"(a.value) : "v"(b.value));
        return a;
    }
    // Per 8 bytes, their sum of absolute differences as one 64-bit number.
    friend Bytes difference8(Bytes a, Bytes b) { return {_mm512_sad_epu8(a.value, b.value)}; }
    // Per 16 bytes x: word i = the sum of absolute differences of x[i .. i + 3] and the weight group.
    friend Bytes difference_windows(Bytes x, Bytes w) { return {_mm512_dbsad_epu8(w.value, x.value, 0x94)}; }
    // Per 16 bytes, bytes 3 to 10 as words: what the fourth byte of every window is.
    friend Bytes fourth_of_windows(Bytes x) {
        const __m128i places = _mm_setr_epi8(3, -1, 4, -1, 5, -1, 6, -1, 7, -1, 8, -1, 9, -1, 10, -1);
        return {_mm512_shuffle_epi8(x.value, _mm512_maskz_broadcast_i32x4(0xffff, places))};
    }
};

#elif defined(__AVX2__)

struct Bytes {
    static constexpr int64_t kBytes = 32;
    static constexpr bool kHasWindows = true;
    // vmpsadbw is one instruction a cycle on Intel's CPUs, where it does 1.4 times the useful taps of vpsadbw (on
    // registers, Sapphire Rapids: 131 and 92 Gtap/s; the kernel has not run there). On Zen 5 it takes several: whole
    // 3 x 3 layers took 1.5 to 2.2 times as long as with vpsadbw.
    static bool windows_are_fast() { return __builtin_cpu_is("intel"); }
    __m256i value;
    static Bytes zero() { return {_mm256_setzero_si256()}; }
    static Bytes load(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
    static Bytes load_words(const uint16_t* p) {
        return {_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
    }
    static Bytes broadcast4(const uint8_t* p) { return {_mm256_set1_epi32(load_group<int32_t>(p))}; }
    static Bytes broadcast8(const uint8_t* p) { return {_mm256_set1_epi64x(load_group<int64_t>(p))}; }
    void store(void* p) const { _mm256_storeu_si256(static_cast<__m256i*>(p), value); }
    friend Bytes add16_saturating(Bytes a, Bytes b) {
        asm("vpaddusw %1, %0, %0" : "+x"(a.value) : "x"(b.value));  // as for AVX-512
        return a;
    }
    friend Bytes add16(Bytes a, Bytes b) {
        asm("vpaddw %1, %0, %0" : "+x"(a.value) : "x"(b.value));
        return a;
    }
    friend Bytes add32(Bytes a, Bytes b) {
        asm("vpaddd %1, %0, %0" : "+x"(a.value) : "x"(b.value));
        return a;
    }
    friend Bytes difference8(Bytes a, Bytes b) { return {_mm256_sad_epu8(a.value, b.value)}; }
    friend Bytes difference_windows(Bytes x, Bytes w) { return {_mm256_mpsadbw_epu8(x.value, w.value, 0)}; }
    friend Bytes fourth_of_windows(Bytes x) {
        const __m128i places = _mm_setr_epi8(3, -1, 4, -1, 5, -1, 6, -1, 7, -1, 8, -1, 9, -1, 10, -1);
        return {_mm256_shuffle_epi8(x.value, _mm256_broadcastsi128_si256(places))};
    }
};

#else

// The compiler's own vector extension; it has no instruction for windows.
struct Bytes {
    static constexpr int64_t kBytes = 16;
    static constexpr bool kHasWindows = false;
    static bool windows_are_fast() { return false; }
    typedef uint8_t Lanes __attribute__((vector_size(16)));
    typedef uint16_t Words __attribute__((vector_size(16)));
    typedef uint32_t Doubles __attribute__((vector_size(16)));
    typedef uint64_t Longs __attribute__((vector_size(16)));
    Lanes value;
    static Bytes zero() { return {Lanes{}}; }
    static Bytes load(const void* p) {
        Bytes b;
        std::memcpy(&b.value, p, sizeof(b.value));
        return b;
    }
    static Bytes load_words(const uint16_t* p) { return {(Lanes)Doubles{p[0], p[1], p[2], p[3]}}; }
    static Bytes broadcast8(const uint8_t* p) {
        const uint64_t group = load_group<uint64_t>(p);
        return {(Lanes)Longs{group, group}};
    }
    void store(void* p) const { std::memcpy(p, &value, sizeof(value)); }
    friend Bytes add16(Bytes a, Bytes b) { return {(Lanes)((Words)a.value + (Words)b.value)}; }
    friend Bytes add32(Bytes a, Bytes b) { return {(Lanes)((Doubles)a.value + (Doubles)b.value)}; }
    friend Bytes add16_saturating(Bytes a, Bytes b) { return add16(a, b); }
    friend Bytes difference8(Bytes a, Bytes b) {
#if defined(__SSE2__)
        return {(Lanes)_mm_sad_epu8((__m128i)a.value, (__m128i)b.value)};
#else
        const Lanes above = a.value > b.value ? a.value : b.value, below = a.value > b.value ? b.value : a.value;
        const Words difference = (Words)(above - below);
        // Pairs, then fours, then all eight bytes, each sum in the low bits of its part.
        const Words pairs = (difference & 0xff) + (difference >> 8);
        const Longs fours = (Longs)pairs + ((Longs)pairs >> 16);
        return {(Lanes)((fours + (fours >> 32)) & 0xffff)};
#endif
    }
};

#endif

// vpsadbw with the plain add is 1.34 times as fast on Zen 5; with the saturating one 1.36 times on Sapphire Rapids.
inline bool saturating_add_is_fast() {
#if defined(__x86_64__)
    return __builtin_cpu_is("intel");
#else
    return false;
#endif
}

// sums[i] = before[i] + 64-bit number i, which is below 2^32.
inline void add_longs(Bytes counts, const uint32_t* before, uint32_t* sums) {
#if defined(__AVX512F__)
    const __m256i so_far = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(before));
    const __m256i low = _mm512_maskz_cvtepi64_epi32(0xff, counts.value);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), _mm256_add_epi32(so_far, low));
#elif defined(__AVX2__)
    const __m128i so_far = _mm_loadu_si128(reinterpret_cast<const __m128i*>(before));
    const __m256i low = _mm256_permutevar8x32_epi32(counts.value, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(sums), _mm_add_epi32(so_far, _mm256_castsi256_si128(low)));
#else
    uint64_t longs[Bytes::kBytes / 8];
    counts.store(longs);
    for (int64_t i = 0; i < Bytes::kBytes / 8; ++i) sums[i] = before[i] + static_cast<uint32_t>(longs[i]);
#endif
}

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
