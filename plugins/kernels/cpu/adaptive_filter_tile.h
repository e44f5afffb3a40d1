// The part of the adaptive filter that is compiled once per instruction set.
#pragma once

#include "kernels/cpu/adaptive_filter.h"
#include "kernels/cpu/variant.h"

namespace adroit::cpu {

// Output rows [first_row, first_row + rows) and columns [first_column, first_column + columns) of
// image `image`, all channels. first_column is a multiple of the lanes.
struct AdaptiveFilterTile {
    int64_t image, first_row, rows, first_column, columns;
};

struct AdaptiveFilterVariant {
    int64_t lanes;  // pixels a vector holds
    void (*run_tile)(const AdaptiveFilterShape&, const float* x, const float* logits, float* y,
                     const AdaptiveFilterTile&);
};

// Limits of a tile, so that its buffers have a fixed size and stay in the nearer caches: a kernel
// that allocates could fail on a thread of the runtime, where no exception may pass.
constexpr int64_t kMaxTileColumns = 128;
constexpr int64_t kMaxTilePixels = 256;
constexpr int64_t kMaxPanelFloats = 2304;  // of one channel

// Floats of one row of the panel of X: for each of `stride` phases the columns of that phase, in whole
// vectors, so that the taps which start a phase are aligned.
inline int64_t panel_phase_floats(const AdaptiveFilterShape& s, int64_t columns, int64_t lanes) {
    return (columns + (s.kernel_size - 1) / s.stride + lanes - 1) / lanes * lanes;
}
inline int64_t panel_row_floats(const AdaptiveFilterShape& s, int64_t columns, int64_t lanes) {
    return s.stride * panel_phase_floats(s, columns, lanes);
}
inline int64_t panel_rows(const AdaptiveFilterShape& s, int64_t rows) { return (rows - 1) * s.stride + s.kernel_size; }

// Weights of one group before normalization, [tap][pixel], and what each pixel's are multiplied by.
struct Weights {
    const float* values;
    const float* factors;
    int64_t tap_step, row_step, taps;
};

inline int64_t reflect(int64_t index, int64_t size) {
    if (index < 0) return -index;
    return index < size ? index : 2 * (size - 1) - index;
}

ADROIT_DECLARE_VARIANTS(AdaptiveFilterVariant, adaptive_filter_variant)

}  // namespace adroit::cpu
