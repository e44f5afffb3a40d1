// The most taps that this CPU can do: the inner pair of instructions of the kernels on registers alone, in each
// of the forms that a kernel may take. Built and called by peak.py.
#include <cstdint>

extern "C" {

// Pairs of instructions in a round.
int64_t pairs() { return 24; }

#define CLOBBERED                                                                                                   \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",      \
        "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", \
        "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "cc"

// 24 terms, added to 24 sums of their own by way of four registers in turn.
#define PAIR(term, add, sum, through)     \
    term "%%zmm0, %%zmm1, %%zmm" #through \
         "\n\t" add " %%zmm" #through ", %%zmm" #sum ", %%zmm" #sum "\n\t"
#define FOUR(term, add, a, b, c, d) \
    PAIR(term, add, a, 2) PAIR(term, add, b, 3) PAIR(term, add, c, 4) PAIR(term, add, d, 5)
#define ROUND(term, add)                                                                                 \
    FOUR(term, add, 8, 9, 10, 11)                                                                        \
    FOUR(term, add, 12, 13, 14, 15) FOUR(term, add, 16, 17, 18, 19) FOUR(term, add, 20, 21, 22, 23)      \
        FOUR(term, add, 24, 25, 26, 27) FOUR(term, add, 28, 29, 30, 31)
#define RUN(name, term, add) \
    void name(int64_t rounds) { asm volatile("1:\n\t" ROUND(term, add) "dec %0\n\tjnz 1b" : "+r"(rounds) : : CLOBBERED); }

RUN(windows, "vdbpsadbw $0x94, ", "vpaddw")
RUN(windows_saturating, "vdbpsadbw $0x94, ", "vpaddusw")
RUN(channels, "vpsadbw ", "vpaddw")
RUN(channels_saturating, "vpsadbw ", "vpaddusw")
RUN(maxima, "vmaxps ", "vaddps")
RUN(maxima_of_bits, "vpmaxsd ", "vaddps")

}  // extern "C"
