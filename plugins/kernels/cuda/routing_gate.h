// The gate of a routed node on a CUDA device (Dynamic Routing, arXiv 2003.10401, section 3.3); see
// kernels/cpu/routing_gate.h for the formula. X is read once (its center quarter when it shrinks);
// the mean is finished on the device, in an order that does not depend on timing.
#pragma once

#include <cstddef>

#include "kernels/cuda/flags.h"
#include "kernels/cuda/launch.h"

namespace adroit::cuda {

struct RoutingGateParameters {
    const void* w1;          // [Hd, C] of X's type
    const float* b1;         // [Hd]
    const float* w2;         // [P, Hd]
    const float* b2;         // [P]
    const float* threshold;  // [1] or [N]
    bool threshold_per_sample;
};

// Bytes of device memory that `routing_gate` needs for the partial sums of this shape or any smaller one
// (a runtime with dynamic shapes asks once); its content may be anything.
size_t routing_gate_workspace(const RoutingGateShape& shape);

// X and w1 have type `type`; gates: [N, P] float32; open: [P].
cudaError_t routing_gate(cudaStream_t stream, const RoutingGateShape& shape, DataType type, const void* x,
                         const RoutingGateParameters& parameters, float* gates, Flags open, void* workspace);

}  // namespace adroit::cuda
