// A tensor as a kernel gets it: in device memory, exactly as large as it is, so that compute-sanitizer sees
// any access beyond it; aligned to its elements only, or to more.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "../../kernel_tests.h"

namespace adroit::tests {

inline void require(cudaError_t error) {
    if (error == cudaSuccess) return;
    std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
    std::exit(2);
}

inline cudaStream_t test_stream() {
    static const cudaStream_t stream = [] {
        cudaStream_t created;
        require(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking));
        return created;
    }();
    return stream;
}

template <typename T>
class DeviceBuffer {
public:
    explicit DeviceBuffer(int64_t count) : count_(count), shift_(pick(0, 1) ? pick(1, 3) : 0) {
        void* memory = nullptr;
        require(cudaMalloc(&memory, static_cast<size_t>(count + shift_) * sizeof(T)));
        memory_ = static_cast<T*>(memory);
    }
    template <typename U>
    DeviceBuffer(const U* values, int64_t count) : DeviceBuffer(count) {
        std::vector<T> converted(static_cast<size_t>(count));
        for (int64_t i = 0; i < count; ++i) converted[i] = static_cast<T>(values[i]);
        copy(data(), converted.data(), cudaMemcpyHostToDevice);
    }
    DeviceBuffer(DeviceBuffer&& other) : count_(other.count_), shift_(other.shift_), memory_(other.memory_) {
        other.memory_ = nullptr;
    }
    ~DeviceBuffer() { cudaFree(memory_); }

    T* data() { return memory_ + shift_; }
    // What the kernels wrote.
    template <typename U>
    void copy_to(U* values) {
        std::unique_ptr<T[]> copied(new T[static_cast<size_t>(count_)]);
        copy(copied.get(), data(), cudaMemcpyDeviceToHost);
        for (int64_t i = 0; i < count_; ++i) values[i] = static_cast<U>(copied[i]);
    }

private:
    void copy(void* to, const void* from, cudaMemcpyKind kind) {
        require(cudaMemcpyAsync(to, from, static_cast<size_t>(count_) * sizeof(T), kind, test_stream()));
        require(cudaStreamSynchronize(test_stream()));
    }

    int64_t count_, shift_;
    T* memory_ = nullptr;
};

inline void choose_device() {}

}  // namespace adroit::tests
