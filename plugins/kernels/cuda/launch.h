// What the CUDA launchers share. A launcher puts work on the given stream and returns: it allocates
// nothing, waits for nothing and touches no other stream, so it can be captured in a CUDA graph.
// Every pointer is to device memory.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/shapes.h"

namespace adroit::cuda {

// The type of X, of Y and of what has Y's shape. Sums are float32 (or exact integers) in any case.
enum class DataType { kFloat32, kFloat16 };

}  // namespace adroit::cuda
