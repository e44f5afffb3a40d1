// Flags that a kernel gives.
#pragma once

#include <cstdint>

namespace adroit::cuda {

// Where they go: bools, or int32 of 1 and 0 (TensorRT takes no bool from a plugin).
struct Flags {
    Flags() = default;
    Flags(bool* flags) : bools(flags) {}
    Flags(int32_t* flags) : numbers(flags) {}

    bool* bools = nullptr;
    int32_t* numbers = nullptr;
};

}  // namespace adroit::cuda
