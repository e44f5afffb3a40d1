// The part of the routing gate that is compiled once per instruction set.
#pragma once

#include "kernels/cpu/routing_gate.h"
#include "kernels/cpu/variant.h"

namespace adroit::cpu {

// Positions [first_position, first_position + positions) of image `image`, for hidden channels
// [first_hidden, first_hidden + hidden); first_hidden is a multiple of kHiddenPerPart.
struct RoutingGatePart {
    int64_t image, first_position, positions, first_hidden, hidden;
};

struct RoutingGateVariant {
    int64_t hidden_block;    // hidden channels that one packed block of weights holds
    int64_t position_block;  // positions that are computed at once: parts of multiples of it are fast
    // totals[h] += sum over the part's positions of max(0, W1 X + b1), for the part's hidden channels.
    void (*add_part)(const RoutingGateShape&, const float* x, const float* packed_w1, const float* b1,
                     const RoutingGatePart&, float* totals);
};

// Hidden channels that a part has at most: its sums then stay in the first-level cache.
constexpr int64_t kHiddenPerPart = 128;

ADROIT_DECLARE_VARIANTS(RoutingGateVariant, routing_gate_variant)

}  // namespace adroit::cpu
