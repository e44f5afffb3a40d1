// Memory that a plugin's kernels can use: the GPU's, or the host's for a library whose kernels are
// emulated. Host buffers have the exact size, so that the address sanitizer sees the first byte past it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace host {

inline void require(cudaError_t error) {
    if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

class Buffer {
public:
    Buffer(size_t bytes, bool on_host) : bytes_(bytes), on_host_(on_host) {
        if (on_host_)
            data_ = ::operator new(bytes);
        else
            require(cudaMalloc(&data_, bytes ? bytes : 1));
    }
    ~Buffer() {
        if (on_host_)
            ::operator delete(data_);
        else
            cudaFree(data_);
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void* data() const { return data_; }
    void fill(int byte) {
        if (on_host_)
            std::memset(data_, byte, bytes_);
        else
            require(cudaMemset(data_, byte, bytes_));
    }
    void write(const std::vector<char>& bytes) {
        if (bytes.size() != bytes_) throw std::runtime_error("a tensor's file has the wrong size");
        if (on_host_)
            std::memcpy(data_, bytes.data(), bytes_);
        else
            require(cudaMemcpy(data_, bytes.data(), bytes_, cudaMemcpyHostToDevice));
    }
    std::vector<char> read() const {
        std::vector<char> bytes(bytes_);
        if (on_host_)
            std::memcpy(bytes.data(), data_, bytes_);
        else
            require(cudaMemcpy(bytes.data(), data_, bytes_, cudaMemcpyDeviceToHost));
        return bytes;
    }

private:
    size_t bytes_;
    bool on_host_;
    void* data_ = nullptr;
};

}  // namespace host
