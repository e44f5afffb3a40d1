// How the routing gate's first layer, a product of W1 [hidden][channels] and X [channels][positions], is
// shared out. A warp takes kWarpPositions positions and some hidden channels; each lane has all
// the sums of its positions in registers, so X is read once for that many hidden channels. The warps of a
// block share its hidden channels first, then its positions. Nothing depends on the device, so that
// neither does the order of additions.
#pragma once

#include "kernels/cuda/divide.h"

namespace adroit::cuda {

constexpr int kGateWarps = 4, kGateThreads = 32 * kGateWarps;
constexpr int kThreadPositions = 4, kWarpPositions = 32 * kThreadPositions;
constexpr int kGateChannels = 32;   // of W1, in shared memory at a time
constexpr int kMaxGateParts = 256;  // sums of an image that are added in the end, for each hidden channel

// Hidden channels of a warp. Shrinking takes registers, for addresses.
ADROIT_HOST_DEVICE constexpr int gate_hidden(int shrink) { return shrink == 1 ? 32 : 16; }

struct GatePlan {
    int64_t x_plane, positions;
    int channels, hidden, paths, width, columns;
    int hidden_warps;     // warps of a block that have hidden channels of their own: 1, 2 or 4
    int hidden_blocks;    // blocks that share the hidden channels
    int block_positions;  // positions that a block takes at a time
    int parts, rounds;    // blocks that share an image's positions, and how often each takes some
    int most_parts;       // of this and of any smaller shape: more positions can take more rounds in fewer parts

    static bool fits(const RoutingGateShape& s) {
        constexpr int64_t limit = int64_t{1} << 30;
        for (int64_t size : {s.batch, s.channels, s.height, s.width, s.hidden, s.paths})
            if (size < 1 || size > limit) return false;
        return (s.shrink == 1 || s.shrink == 4) && s.positions() >= 1;
    }

    explicit GatePlan(const RoutingGateShape& s)
        : x_plane(s.height * s.width),
          positions(s.positions()),
          channels(static_cast<int>(s.channels)),
          hidden(static_cast<int>(s.hidden)),
          paths(static_cast<int>(s.paths)),
          width(static_cast<int>(s.width)),
          columns(static_cast<int>(s.columns())) {
        const int warp_hidden = gate_hidden(static_cast<int>(s.shrink));
        hidden_warps = hidden <= warp_hidden ? 1 : hidden <= 2 * warp_hidden ? 2 : kGateWarps;
        hidden_blocks = static_cast<int>(divide_up(hidden, hidden_warps * warp_hidden));
        block_positions = kWarpPositions * (kGateWarps / hidden_warps);
        const int64_t pieces = divide_up(positions, block_positions);
        rounds = static_cast<int>(divide_up(pieces, kMaxGateParts));
        parts = static_cast<int>(divide_up(pieces, rounds));
        most_parts = pieces < kMaxGateParts ? static_cast<int>(pieces) : kMaxGateParts;
    }
};

}  // namespace adroit::cuda
