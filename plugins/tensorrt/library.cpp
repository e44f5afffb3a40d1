// The plugin library that TensorRT loads: every operator of operators.toml. The registry's
// loadLibrary asks for these two symbols, and exports.map hides all others. The macro
// REGISTER_TENSORRT_PLUGIN is no use here: it needs libnvinfer at load time, and registers under the
// empty namespace, where a creator that has a namespace is not found.
#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include "tensorrt/adaptive_filter.h"
#include "tensorrt/adder_conv2d.h"
#include "tensorrt/quantized_adder_conv2d.h"
#include "tensorrt/routing_decision.h"
#include "tensorrt/routing_gate.h"

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

template <typename Operator>
nvinfer1::IPluginCreatorInterface* creator() {
    static adroit::tensorrt::Creator<Operator> one;  // outlives every registry
    return &one;
}

}  // namespace

extern "C" {

ADROIT_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
    using namespace adroit::tensorrt;
    static nvinfer1::IPluginCreatorInterface* const creators[] = {
        creator<AdderConv2d<false>>(), creator<AdderConv2d<true>>(), creator<QAdderConv2d<false>>(),
        creator<QAdderConv2d<true>>(), creator<RoutingGate>(),       creator<RoutingDecision>(),
        creator<AdaptiveFilter>()};
    count = static_cast<int32_t>(sizeof creators / sizeof *creators);
    return creators;
}

// Required by the registry; the finder is not used (report.h says why).
ADROIT_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder*) {}

}  // extern "C"
