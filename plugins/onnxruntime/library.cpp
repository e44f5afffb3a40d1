// The custom-op library that ONNX Runtime loads: registers every operator of operators.toml.
#include <onnxruntime_cxx_api.h>

#include "kernels/cpu/instruction_set.h"
#include "onnxruntime/adapter.h"
#include "onnxruntime/registration.h"
#include "onnxruntime_operators.h"

namespace {

using namespace adroit::onnxruntime;

// The domain outlives every session. An operator may be there once for each execution provider; those for
// CUDA mean nothing to an ONNX Runtime without it, and registering calls nothing of CUDA.
Ort::CustomOpDomain& domain() {
    static Ort::CustomOpDomain domain = [] {
        Ort::CustomOpDomain created("adroit");
        add_cpu_operators(created);
#ifdef ADROIT_WITH_CUDA
        add_cuda_operators<AsIs>(created);
#endif
        return created;
    }();
    return domain;
}

}  // namespace

extern "C" {

#define ADROIT_EXPORT __attribute__((visibility("default")))

ADROIT_EXPORT OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
    const OrtApi* api = base->GetApi(ORT_API_VERSION);
    // An ONNX Runtime older than our headers. Success here would mean silence: the model's portable
    // bodies would run in place of the kernels.
    if (!api) return base->GetApi(1)->CreateStatus(ORT_FAIL, "this ONNX Runtime is older than the adroit library");
    Ort::InitApi(api);
    return adroit::onnxruntime::guarded("adroit", [&] {
        adroit::cpu::instruction_set();  // fail now, with a message, if the forced one is not there
        Ort::UnownedSessionOptions(options).Add(domain());
    });
}

// For `adroit doctor` and the tests: the instruction set in use, or the reason why there is none.
ADROIT_EXPORT const char* adroit_instruction_set() {
    static const std::string text = [] {
        try {
            return std::string(adroit::cpu::name(adroit::cpu::instruction_set()));
        } catch (const std::exception& e) {
            return std::string("error: ") + e.what();
        }
    }();
    return text.c_str();
}

}  // extern "C"
