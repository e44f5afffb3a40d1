#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/flags.h"

namespace adroit::cuda {

ADROIT_DEVICE void set_flag(const Flags& flags, int64_t index, bool value) {
    if (flags.bools) flags.bools[index] = value;
    if (flags.numbers) flags.numbers[index] = value;
}

}  // namespace adroit::cuda
