// The gate of a routed node on the CPU, float32 (Dynamic Routing, arXiv 2003.10401, section 3.3):
//
//   value = max(0, tanh(W2 * mean over positions of max(0, W1 * X + b1) + b2))
//   gates = value where value > max(threshold, 0), else 0;   open[p] = any sample's gate p is not 0
//
// With shrink 4 the positions are those of X shrunk by bilinear interpolation (align_corners false,
// no antialias) to floor(H/4) x floor(W/4), which is the mean of the center 2 x 2 of each 4 x 4
// block: only that quarter of X is read. The hidden map is never stored.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/shapes.h"

namespace adroit::cpu {

// Everything but X and W1. `threshold` has one value, or one per sample.
struct RoutingGateParameters {
    const float* b1;
    const float* w2;
    const float* b2;
    const float* threshold;
    bool threshold_per_sample;
};

// W1 reordered once per session for the instruction set in use: blocks of rows, innermost.
struct PackedGateWeights {
    std::vector<float> values;
};

PackedGateWeights pack_gate_weights(const float* w1, int64_t hidden, int64_t channels);

// How the work on one shape is cut: an image's positions into parts, the hidden channels into groups. A caller with
// many calls of one shape makes it once.
struct RoutingGatePlan {
    RoutingGateShape shape;
    int64_t part_positions, parts, groups;
};

RoutingGatePlan plan_routing_gate(const RoutingGateShape& shape);

// gates: [N,P]; open: [P]. The result does not depend on the number of threads or on batch mates.
void routing_gate(const RoutingGatePlan& plan, const float* x, const PackedGateWeights& w1,
                  const RoutingGateParameters& parameters, float* gates, bool* open, const ParallelFor& parallel_for);

}  // namespace adroit::cpu
