// How many adder taps a second the GPU can do at most: kernels that touch registers only, with as many
// independent sums as hide the arithmetic's latency. A tap is |x - w| and its addition.
#include <cuda_runtime.h>

#include "kernels/cuda/absolute_differences.h"

namespace {

constexpr int kThreads = 256, kBlocks = 8, kSums = 16;  // threads of a block, blocks of a multiprocessor

// The results are written in a case that never arises, so that the compiler keeps the arithmetic.
__global__ void __launch_bounds__(kThreads) float_taps(int steps, float w, float never, float* out) {
    float sums[kSums];
    for (int i = 0; i < kSums; ++i) sums[i] = static_cast<float>(threadIdx.x + i);
    for (int step = 0; step < steps; ++step)
#pragma unroll
        for (int i = 0; i < kSums; ++i) sums[i] += fabsf(sums[(i + 1) % kSums] - w);
    float total = 0.0f;
    for (int i = 0; i < kSums; ++i) total += sums[i];
    if (total == never) *out = total;
}

__global__ void __launch_bounds__(kThreads) byte_taps(int steps, uint32_t w, uint32_t never, uint32_t* out) {
    uint32_t sums[kSums];
    for (int i = 0; i < kSums; ++i) sums[i] = threadIdx.x + i;
    for (int step = 0; step < steps; ++step)
#pragma unroll
        for (int i = 0; i < kSums; ++i)
            sums[i] = adroit::cuda::add_absolute_differences(sums[(i + 1) % kSums], w, sums[i]);
    uint32_t total = 0;
    for (int i = 0; i < kSums; ++i) total += sums[i];
    if (total == never) *out = total;
}

}  // namespace

// Queues a launch and gives how many taps it does; 0 after an error. out: 4 bytes of device memory.
extern "C" __attribute__((visibility("default"))) double adroit_queue_taps(cudaStream_t stream, int bytes, int steps,
                                                                           void* out) {
    int count = 0;
    if (adroit::cuda::multiprocessors(&count)) return 0.0;
    if (bytes)
        byte_taps<<<count * kBlocks, kThreads, 0, stream>>>(steps, 0x01020304u, 0xffffffffu,
                                                            static_cast<uint32_t*>(out));
    else
        float_taps<<<count * kBlocks, kThreads, 0, stream>>>(steps, 0.5f, -1.0f, static_cast<float*>(out));
    if (cudaGetLastError() != cudaSuccess) return 0.0;
    return static_cast<double>(count) * kBlocks * kThreads * kSums * steps * (bytes ? 4 : 1);
}
