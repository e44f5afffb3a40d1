// The adaptive anti-aliasing filter on a CUDA device (arXiv 2008.09604, section 3); see
// kernels/cpu/adaptive_filter.h for the formula. One kernel: the softmax, the reflection and the
// weighted sum, in float32, with no intermediate in device memory.
#pragma once

#include "kernels/cuda/launch.h"

namespace adroit::cuda {

// X, logits and Y have type `type`.
cudaError_t adaptive_filter(cudaStream_t stream, const AdaptiveFilterShape& shape, DataType type, const void* x,
                            const void* logits, void* y);

}  // namespace adroit::cuda
