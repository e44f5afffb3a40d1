// sum + |a0 - b0| + ... + |a3 - b3| of four unsigned bytes.
#pragma once

#include "kernels/cuda/device.h"

namespace adroit::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 1200
// One instruction, VABSDIFF4 with its sum, on compute capability 7.5 to 10.x; no C++ intrinsic gives it.
ADROIT_DEVICE uint32_t add_absolute_differences(uint32_t a, uint32_t b, uint32_t sum) {
    uint32_t result;
    asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}
#elif defined(__CUDA_ARCH__)
// From 12.0 on that instruction is emulated, and summing by a dot product with ones is shorter.
ADROIT_DEVICE uint32_t add_absolute_differences(uint32_t a, uint32_t b, uint32_t sum) {
    return __dp4a(__vabsdiffu4(a, b), 0x01010101u, sum);
}
#else
ADROIT_DEVICE uint32_t add_absolute_differences(uint32_t a, uint32_t b, uint32_t sum) {
    for (int shift = 0; shift < 32; shift += 8) {
        const uint32_t p = a >> shift & 255u, q = b >> shift & 255u;
        sum += p > q ? p - q : q - p;
    }
    return sum;
}
#endif

}  // namespace adroit::cuda
