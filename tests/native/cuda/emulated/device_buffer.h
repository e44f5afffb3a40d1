// A tensor as a kernel gets it: exactly as large as it is, and aligned to its elements only, or to more.
#pragma once

#include <cstdint>
#include <memory>

#include "../../kernel_tests.h"
#include "emulator.h"

namespace adroit::tests {

template <typename T>
class DeviceBuffer {
public:
    explicit DeviceBuffer(int64_t count)
        : count_(count), shift_(pick(0, 1) ? pick(1, 3) : 0), memory_(new T[static_cast<size_t>(count + shift_)]) {}

    template <typename U>
    DeviceBuffer(const U* values, int64_t count) : DeviceBuffer(count) {
        for (int64_t i = 0; i < count; ++i) data()[i] = static_cast<T>(values[i]);
    }
    T* data() { return memory_.get() + shift_; }
    // What the kernels wrote.
    template <typename U>
    void copy_to(U* values) {
        for (int64_t i = 0; i < count_; ++i) values[i] = static_cast<U>(data()[i]);
    }

private:
    int64_t count_, shift_;
    std::unique_ptr<T[]> memory_;
};

inline cudaStream_t test_stream() { return nullptr; }

// A number of multiprocessors by chance, so that the launchers choose all their ways to share out the work.
inline void choose_device() { emulated_multiprocessors = static_cast<int>(pick(0, 1) ? pick(1, 8) : pick(100, 200)); }

}  // namespace adroit::tests
