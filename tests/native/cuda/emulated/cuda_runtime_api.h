// Stands in for the CUDA toolkit's header where the kernels run on the CPU: what they and their launchers
// name of it, and nothing else.
#pragma once

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16 };
using cudaStream_t = struct CUstream_st*;

namespace adroit::tests {
// Multiprocessors of the emulated device: the launchers share out their work by it.
inline int emulated_multiprocessors = 4;
}  // namespace adroit::tests

inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
    *value = adroit::tests::emulated_multiprocessors;
    return cudaSuccess;
}
