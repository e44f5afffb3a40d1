// What the gates of a layer of routed nodes decide, on a CUDA device; see kernels/cpu/routing_decision.h for
// the rules and the order of every sum, which is the same here: so are the results, bit by bit.
//
// One launch of one block, for any sizes: a layer has a dozen paths, four nodes and some forty flags.
#pragma once

#include "kernels/cuda/flags.h"
#include "kernels/cuda/launch.h"

namespace adroit::cuda {

// All float32 [rows, columns].
struct RoutingDecisionInputs {
    const float* gates;    // [batch, paths]
    const float* live;     // [batch, nodes]
    const float* belongs;  // [paths, nodes]
    const float* reach;    // [states, reached]
    const float* shown;    // [states, flags]
};

struct RoutingDecisionOutputs {
    float* counted;  // [batch, paths]
    float* opened;   // [batch, nodes]
    float* reached;  // [batch, reached]
    Flags flags;     // [flags]
};

cudaError_t routing_decision(cudaStream_t stream, const RoutingDecisionShape& shape, const RoutingDecisionInputs& in,
                             const RoutingDecisionOutputs& out);

}  // namespace adroit::cuda
