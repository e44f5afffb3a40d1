// The part of the bilinear upsampling that is compiled once per instruction set.
#pragma once

#include "kernels/cpu/bilinear_upsample.h"
#include "kernels/cpu/variant.h"

namespace adroit::cpu {

// Rows [first_row, first_row + rows) and columns [first_column, first_column + columns) of X's plane `plane`; what is
// computed are the factor x factor outputs of each.
struct BilinearUpsampleTile {
    int64_t plane, first_row, rows, first_column, columns;
};

struct BilinearUpsampleVariant {
    void (*run_tile)(const BilinearUpsampleShape&, const float* x, float* y, const BilinearUpsampleTile&);
};

// Of a tile, so that its buffers have a fixed size and stay in the first-level cache.
constexpr int64_t kMaxUpsampledColumns = 1024;

ADROIT_DECLARE_VARIANTS(BilinearUpsampleVariant, bilinear_upsample_variant)

}  // namespace adroit::cpu
