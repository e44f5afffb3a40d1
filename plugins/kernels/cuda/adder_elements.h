// What the adder convolution's kernel does with a type of element.
//
// A word is what one lane of arithmetic takes: one float32 tap, or four 8-bit taps. `Fetched` is a word
// as it lies in memory. What lies past the last tap has the value of the padding in X and in W, and so
// adds nothing.
#pragma once

#include "kernels/cuda/absolute_differences.h"

namespace adroit::cuda {

// float32 or float16 taps, summed in float32.
template <typename T>
struct FloatElements {
    using Element = T;
    using Word = float;
    static constexpr int kTaps = 1;  // of a word
    using Fetched = T;

    ADROIT_DEVICE static Fetched fetched(const T (&taps)[kTaps]) { return taps[0]; }
    ADROIT_DEVICE T padding() const { return from_float<T>(0.0f); }
    ADROIT_DEVICE Word word(Fetched fetched) const { return to_float(fetched); }
    ADROIT_DEVICE static void add(Word& sum, Word x, Word w) { sum += fabsf(x - w); }
};

// 8-bit taps, four a word, summed exactly. Signed bytes are shifted by 128: the differences are the same.
struct ByteElements {
    using Element = uint8_t;
    using Word = uint32_t;
    static constexpr int kTaps = 4;
    using Fetched = uint32_t;

    uint32_t flip;         // 0x80808080 where bytes are signed, else 0
    uint8_t padding_byte;  // as stored in X

    ADROIT_DEVICE static Fetched fetched(const uint8_t (&taps)[kTaps]) {
        return taps[0] | uint32_t{taps[1]} << 8 | uint32_t{taps[2]} << 16 | uint32_t{taps[3]} << 24;
    }
    ADROIT_DEVICE uint8_t padding() const { return padding_byte; }
    ADROIT_DEVICE Word word(Fetched fetched) const { return fetched ^ flip; }
    ADROIT_DEVICE static void add(Word& sum, Word x, Word w) { sum = add_absolute_differences(x, w, sum); }
};

}  // namespace adroit::cuda
