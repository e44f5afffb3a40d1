// condition ? *pointer : otherwise, as one predicated load. Left to itself the compiler branches around the
// load, and no later load or arithmetic overlaps with it. For what no thread writes while a kernel runs.
#pragma once

#include "kernels/cuda/device.h"

namespace adroit::cuda {

#if defined(__CUDA_ARCH__)

ADROIT_DEVICE uint32_t load_if(bool condition, const uint32_t* pointer, uint32_t otherwise) {
    asm("{\n .reg .pred p;\n setp.ne.b32 p, %1, 0;\n @p ld.global.nc.b32 %0, [%2];\n}"
        : "+r"(otherwise)
        : "r"(static_cast<int>(condition)), "l"(pointer));
    return otherwise;
}
ADROIT_DEVICE uint16_t load_if(bool condition, const uint16_t* pointer, uint16_t otherwise) {
    asm("{\n .reg .pred p;\n setp.ne.b32 p, %1, 0;\n @p ld.global.nc.b16 %0, [%2];\n}"
        : "+h"(otherwise)
        : "r"(static_cast<int>(condition)), "l"(pointer));
    return otherwise;
}
ADROIT_DEVICE uint8_t load_if(bool condition, const uint8_t* pointer, uint8_t otherwise) {
    uint32_t value = otherwise;
    asm("{\n .reg .pred p;\n setp.ne.b32 p, %1, 0;\n @p ld.global.nc.u8 %0, [%2];\n}"
        : "+r"(value)
        : "r"(static_cast<int>(condition)), "l"(pointer));
    return static_cast<uint8_t>(value);
}
ADROIT_DEVICE float load_if(bool condition, const float* pointer, float otherwise) {
    return __uint_as_float(load_if(condition, reinterpret_cast<const uint32_t*>(pointer), __float_as_uint(otherwise)));
}
ADROIT_DEVICE __half load_if(bool condition, const __half* pointer, __half otherwise) {
    return __ushort_as_half(
        load_if(condition, reinterpret_cast<const uint16_t*>(pointer), __half_as_ushort(otherwise)));
}

#else

template <typename T>
ADROIT_DEVICE T load_if(bool condition, const T* pointer, T otherwise) {
    return condition ? *pointer : otherwise;
}

#endif

}  // namespace adroit::cuda
