// Runs CUDA kernels on the CPU, from their own source, so that the sanitizers see every access and a
// machine without a GPU tests index arithmetic, tiling and tails. (It says nothing about speed, and
// nothing about what only nvcc's output or a GPU's memory model can show.)
//
// Blocks run one after the other. The threads of a block are fibers of one CPU thread, which change at
// __syncthreads(). Shared memory is allocated for each block, exactly as large as it is declared, and
// filled with bytes that are NaN as a float. For the thread sanitizer each fiber is a thread, and only
// __syncthreads() orders what they do: it finds the races within a block, and between two.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "kernels/cuda/launch.h"

// ---- the language ----
#define ADROIT_HOST_DEVICE inline
#define ADROIT_DEVICE inline
#define ADROIT_KERNEL(threads, blocks) void
#define ADROIT_SHARED(Type, name)     \
    static const char name##_key = 0; \
    Type& name = *static_cast<Type*>(adroit::tests::shared_variable(&name##_key, sizeof(Type)))
#define ADROIT_UNROLL
#define ADROIT_UNROLL_BY(count)

namespace adroit::tests {

struct Index {
    unsigned x = 0;
};

// Of the thread that runs now.
Index thread_index();
Index block_index();

// Memory of the block that runs now, for the variable that `declaration` stands for.
void* shared_variable(const void* declaration, size_t bytes);

// Suspends the thread until all threads of its block came here, or ended.
void synchronize_block();

void run_kernel(int64_t blocks, int threads, const std::function<void()>& kernel);

}  // namespace adroit::tests

#define threadIdx (adroit::tests::thread_index())
#define blockIdx (adroit::tests::block_index())

inline void __syncthreads() { adroit::tests::synchronize_block(); }
inline int min(int a, int b) { return a < b ? a : b; }

// ---- float16: x86-64's own type rounds like the device's ----
using __half = _Float16;
inline float __half2float(__half value) { return static_cast<float>(value); }
inline __half __float2half_rn(float value) { return static_cast<__half>(value); }

namespace adroit::cuda {

template <typename Arguments>
cudaError_t launch(void (*kernel)(Arguments), int64_t blocks, int threads, cudaStream_t, const Arguments& arguments) {
    if (blocks < 1 || blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
    tests::run_kernel(blocks, threads, [&] { kernel(arguments); });
    return cudaSuccess;
}

}  // namespace adroit::cuda
