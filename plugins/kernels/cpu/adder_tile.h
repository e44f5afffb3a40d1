// The part of an adder convolution, float32 or quantized, that is computed at once.
#pragma once

#include <cstdint>

namespace adroit::cpu {

// Output rows [first_row, first_row + rows) and columns alike, of filters [first_filter, first_filter + filters);
// first_filter is a multiple of the kernel's filter_block.
struct AdderTile {
    int64_t image, first_row, rows, first_column, columns, first_filter, filters;
};

}  // namespace adroit::cpu
