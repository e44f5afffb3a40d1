// What the operators for ONNX Runtime's CUDA execution provider share. Their tensors are in device memory, float32 or
// 8-bit integers, and the work goes to the stream that ONNX Runtime names.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "onnxruntime/adapter.h"

namespace adroit::onnxruntime {

inline cudaStream_t stream_of(const Ort::KernelContext& context) {
    return static_cast<cudaStream_t>(context.GetGPUComputeStream());
}

// `error`: of a launch, which ONNX Runtime does not see.
inline void require_launched(cudaError_t error) {
    if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

}  // namespace adroit::onnxruntime
