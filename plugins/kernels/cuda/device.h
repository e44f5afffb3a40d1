// What every kernel source includes: the words of CUDA C++ and a launch, from nvcc or, in the tests,
// from an emulator that runs the very same source on the CPU (tests/native/cuda/emulated/emulator.h).
#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"

#if defined(__CUDACC__)

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define ADROIT_HOST_DEVICE __host__ __device__ __forceinline__
#define ADROIT_DEVICE __device__ __forceinline__
#define ADROIT_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
// A variable that the threads of a block share. Its content is undefined at first.
#define ADROIT_SHARED(Type, name) __shared__ Type name
#define ADROIT_UNROLL _Pragma("unroll")
#define ADROIT_PRAGMA(text) _Pragma(#text)
#define ADROIT_UNROLL_BY(count) ADROIT_PRAGMA(unroll count)

namespace adroit::cuda {

// Runs `kernel` with its one argument; the error is the launch's own.
template <typename Arguments>
cudaError_t launch(void (*kernel)(Arguments), int64_t blocks, int threads, cudaStream_t stream, Arguments arguments) {
    if (blocks < 1 || blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
    void* pointers[] = {&arguments};
    return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(static_cast<unsigned>(blocks)),
                            dim3(static_cast<unsigned>(threads)), pointers, 0, stream);
}

}  // namespace adroit::cuda

#elif defined(ADROIT_CUDA_EMULATOR)
#include ADROIT_CUDA_EMULATOR
#else
#error "CUDA kernels are compiled by nvcc, or by a test that names its emulator"
#endif

namespace adroit::cuda {

// Multiprocessors of the current device, to spread small work over all of them.
inline cudaError_t multiprocessors(int* count) {
    int device = 0;
    const cudaError_t error = cudaGetDevice(&device);
    return error ? error : cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, device);
}

inline bool is_aligned(const void* pointer, size_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

// Four values that are read or written in one access.
template <typename T>
struct alignas(4 * sizeof(T)) Quad {
    T at[4];
};

// A product that is rounded before anything is added to it, where every bit of a result is defined.
#if defined(__CUDA_ARCH__)
ADROIT_DEVICE float rounded_product(float a, float b) { return __fmul_rn(a, b); }
#else
ADROIT_DEVICE float rounded_product(float a, float b) { return a * b; }
#endif

ADROIT_DEVICE float to_float(float value) { return value; }
ADROIT_DEVICE float to_float(__half value) { return __half2float(value); }
template <typename T>
ADROIT_DEVICE T from_float(float value);
template <>
ADROIT_DEVICE float from_float<float>(float value) {
    return value;
}
template <>
ADROIT_DEVICE __half from_float<__half>(float value) {
    return __float2half_rn(value);
}

}  // namespace adroit::cuda
