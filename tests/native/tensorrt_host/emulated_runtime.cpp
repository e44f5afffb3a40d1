// What the TensorRT adapters call of the CUDA runtime, where "device" memory is the host's. With the
// emulated kernels (../cuda/emulated/emulator.h) a machine without a GPU runs a plugin from `enqueue` down to the
// kernels' own source.
#include <cuda_runtime_api.h>

extern "C" const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorInvalidValue ? "invalid argument" : "another emulated error";
}
