// Declares and chooses the variants of a kernel: the same functions, compiled once per instruction set.
#pragma once

#include "kernels/cpu/instruction_set.h"

// Declares `Variant function();` in the namespace of every instruction set.
#define ADROIT_DECLARE_VARIANTS(Variant, function) \
    namespace generic {                            \
    Variant function();                            \
    }                                              \
    namespace avx2 {                               \
    Variant function();                            \
    }                                              \
    namespace avx512 {                             \
    Variant function();                            \
    }

// Calls `function` of the instruction set in use. Other than on x86-64, or with ADROIT_GENERIC_ONLY, only the generic
// one is built.
#if defined(__x86_64__) && !defined(ADROIT_GENERIC_ONLY)
#define ADROIT_VARIANT(function) (adroit::cpu::choose_variant(generic::function, avx2::function, avx512::function)())
#else
#define ADROIT_VARIANT(function) (generic::function())
#endif

namespace adroit::cpu {

template <typename Function>
Function choose_variant(Function generic, Function avx2, Function avx512) {
    switch (instruction_set()) {
        case InstructionSet::avx512:
            return avx512;
        case InstructionSet::avx2:
            return avx2;
        case InstructionSet::generic:
            break;
    }
    return generic;
}

}  // namespace adroit::cpu
