// The operators for CUDA, over kernels that are emulated on the CPU, registered for ONNX Runtime's CPU
// provider: a machine without a GPU runs them from ONNX Runtime's call down to the kernels' own source.
// (What it does not show: ONNX Runtime's streams, its device memory and its copies.)
#include <cuda_runtime_api.h>

inline const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorInvalidValue ? "invalid argument" : "another emulated error";
}

#define ADROIT_WITH_CUDA
#include "onnxruntime/registration.h"
#include "onnxruntime_operators.h"

namespace {

using namespace adroit::onnxruntime;

template <typename Operator>
struct Moved : Operator {
    static constexpr const char* provider = kOnCpu;
    using Operator::Operator;
};

Ort::CustomOpDomain& domain() {
    static Ort::CustomOpDomain domain = [] {
        Ort::CustomOpDomain created("adroit");
        add_cuda_operators<Moved>(created);
        return created;
    }();
    return domain;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* base) {
    Ort::InitApi(base->GetApi(ORT_API_VERSION));
    return guarded("adroit", [&] { Ort::UnownedSessionOptions(options).Add(domain()); });
}
