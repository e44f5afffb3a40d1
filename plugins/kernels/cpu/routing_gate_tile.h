// The part of the routing gate that is compiled once per instruction set.
#pragma once

#include "kernels/cpu/routing_gate.h"
#include "kernels/cpu/variant.h"

namespace adroit::cpu {

// Positions [first_position, first_position + positions) of image `image`, for hidden channels
// [first_hidden, first_hidden + hidden); first_hidden is a multiple of kHiddenPerTile.
struct RoutingGateTile {
    int64_t image, first_position, positions, first_hidden, hidden;
};

struct RoutingGateVariant {
    int64_t hidden_block;        // hidden channels that one packed block of weights holds
    int64_t max_tile_positions;  // positions that a tile may hold
    // totals[h] += sum over the tile's positions of max(0, W1 X + b1), for the tile's hidden channels.
    void (*add_tile)(const RoutingGateShape&, const float* x, const float* packed_w1, const float* b1,
                     const RoutingGateTile&, float* totals);
};

// Hidden channels that a tile handles at most: its sums then stay in the first-level cache.
constexpr int64_t kHiddenPerTile = 128;

ADROIT_DECLARE_VARIANTS(RoutingGateVariant, routing_gate_variant)

}  // namespace adroit::cpu
