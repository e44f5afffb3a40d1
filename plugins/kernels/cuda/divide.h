// Divisions of indices.
#pragma once

#include "kernels/cuda/device.h"

namespace adroit::cuda {

ADROIT_HOST_DEVICE constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Division of 0 <= n < 2^31 by a fixed divisor: a product and a shift (Granlund and Montgomery, "Division
// by invariant integers using multiplication", 1994, figure 4.1) where the device has no divider.
struct FastDivider {
    uint32_t multiplier = 0, shift = 0;
    int divisor = 1;

    FastDivider() = default;
    explicit FastDivider(int by) : divisor(by) {
        while ((uint64_t{1} << shift) < static_cast<uint64_t>(by)) ++shift;
        multiplier =
            static_cast<uint32_t>((uint64_t{1} << 32) * ((uint64_t{1} << shift) - by) / static_cast<uint64_t>(by) + 1);
    }
    ADROIT_HOST_DEVICE int divide(int n) const {
        const uint32_t high = static_cast<uint32_t>((uint64_t{static_cast<uint32_t>(n)} * multiplier) >> 32);
        return static_cast<int>((high + static_cast<uint32_t>(n)) >> shift);
    }
};

}  // namespace adroit::cuda
