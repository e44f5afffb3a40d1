// Memory of an execution provider's device for one call of a kernel.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <memory>

namespace adroit::onnxruntime {

// The allocator of a node's execution provider. Kernels of one node can run at once on several streams:
// a workspace belongs to a call, never to the node.
class DeviceAllocator {
public:
    explicit DeviceAllocator(const Ort::ConstKernelInfo& info) : allocator_(nullptr, Ort::GetApi().ReleaseAllocator) {
        OrtAllocator* found = nullptr;
        Ort::ThrowOnError(Ort::GetApi().KernelInfoGetAllocator(info, OrtMemTypeDefault, &found));
        allocator_.reset(found);
    }

    // Memory that is given back when the result goes, which may be before the kernels that use it have run:
    // ONNX Runtime keeps what was taken for a stream to that stream, and there the next user comes later.
    // `bytes` is above 0.
    auto take(const Ort::KernelContext& context, size_t bytes) const {
        const OrtApi& api = Ort::GetApi();
        void* memory = nullptr;
        // ONNX Runtime follows a null pointer where a call has no stream; its work is then in one order anyway.
        if (context.GetGPUComputeStream()) {
            const OrtMemoryInfo* device = nullptr;
            Ort::ThrowOnError(api.AllocatorGetInfo(allocator_.get(), &device));
            Ort::ThrowOnError(
                api.KernelContext_GetScratchBuffer(context.GetOrtKernelContext(), device, bytes, &memory));
        } else {
            Ort::ThrowOnError(api.AllocatorAlloc(allocator_.get(), bytes, &memory));
        }
        const auto give_back = [allocator = allocator_.get()](void* taken) { allocator->Free(allocator, taken); };
        return std::unique_ptr<void, decltype(give_back)>(memory, give_back);
    }

private:
    std::unique_ptr<OrtAllocator, decltype(OrtApi::ReleaseAllocator)> allocator_;
};

}  // namespace adroit::onnxruntime
