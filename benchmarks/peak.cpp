// The most taps that this CPU can do: the inner pair of instructions of the quantised adder
// convolution (kernels/cpu/byte_vector.h) on registers alone. Built by quantised_adder_conv.py.
#include <cstdint>

extern "C" {

// 1 where the CPU has the instructions of a kind: 0 windows (AVX-512 vdbpsadbw, of whose 4 taps a
// 3-wide kernel uses 3), 1 channels (AVX-512 vpsadbw).
int has_peak(int) { return __builtin_cpu_supports("avx512bw"); }

// Pairs of instructions in a round.
int64_t pairs() { return 24; }

#define CLOBBERED                                                                                                   \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",      \
        "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", \
        "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "cc"

// 24 differences and additions into 24 sums of their own, by way of four registers in turn.
#define PAIR(difference, sum, through)          \
    difference "%%zmm0, %%zmm1, %%zmm" #through \
               "\n\t"                           \
               "vpaddusw %%zmm" #through ", %%zmm" #sum ", %%zmm" #sum "\n\t"
#define FOUR(difference, a, b, c, d) \
    PAIR(difference, a, 2) PAIR(difference, b, 3) PAIR(difference, c, 4) PAIR(difference, d, 5)
#define ROUND(difference)                                                                              \
    FOUR(difference, 8, 9, 10, 11)                                                                     \
    FOUR(difference, 12, 13, 14, 15) FOUR(difference, 16, 17, 18, 19) FOUR(difference, 20, 21, 22, 23) \
        FOUR(difference, 24, 25, 26, 27) FOUR(difference, 28, 29, 30, 31)

void run_peak(int kind, int64_t rounds) {
    if (kind == 0)
        asm volatile("1:\n\t" ROUND("vdbpsadbw $0x94, ") "dec %0\n\tjnz 1b" : "+r"(rounds) : : CLOBBERED);
    else
        asm volatile("1:\n\t" ROUND("vpsadbw ") "dec %0\n\tjnz 1b" : "+r"(rounds) : : CLOBBERED);
}

}  // extern "C"
