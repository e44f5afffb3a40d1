// The plugin library that TensorRT loads: every operator of operators.toml. The registry's
// loadLibrary asks for these two symbols, and exports.map hides all others. The macro
// REGISTER_TENSORRT_PLUGIN is no use here: it needs libnvinfer at load time, and registers under the
// empty namespace, where a creator that has a namespace is not found.
#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include "operators.h"
#include "tensorrt_operators.h"

#define ADROIT_TEXT_OF(value) #value
#define ADROIT_TEXT(value) ADROIT_TEXT_OF(value)
#define ADROIT_EXPORT __attribute__((visibility("default")))

namespace {

// For `adroit plugins check`, which reads it without loading the library.
__attribute__((section(".adroit"), used)) const char description[] =
    "adroit TensorRT plugins\n"
    "tensorrt " ADROIT_TEXT(NV_TENSORRT_MAJOR) "." ADROIT_TEXT(NV_TENSORRT_MINOR) "." ADROIT_TEXT(
        NV_TENSORRT_PATCH) "\n"
                           "cuda " ADROIT_TEXT(CUDART_VERSION) "\n" ADROIT_OPERATORS;

}  // namespace

extern "C" {

ADROIT_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
    static const adroit::tensorrt::Creators creators = [] {
        adroit::tensorrt::Creators all;
        adroit::tensorrt::add_creators(all);
        return all;
    }();
    count = static_cast<int32_t>(creators.size());
    return creators.data();
}

// Required by the registry; the finder is not used (report.h says why).
ADROIT_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder*) {}

}  // extern "C"
