// The custom-op library that ONNX Runtime loads: registers every operator of operators.toml.
#include <onnxruntime_cxx_api.h>

#include "kernels/cpu/instruction_set.h"
#include "onnxruntime/adapter.h"
#include "onnxruntime/adaptive_filter.h"
#include "onnxruntime/adder_conv2d.h"
#include "onnxruntime/quantised_adder_conv2d.h"
#include "onnxruntime/routing_decision.h"
#include "onnxruntime/routing_gate.h"

namespace {

using adroit::onnxruntime::AdaptiveFilter;
using adroit::onnxruntime::AdderConv2d;
using adroit::onnxruntime::CustomOperator;
using adroit::onnxruntime::QAdderConv2d;
using adroit::onnxruntime::RoutingDecision;
using adroit::onnxruntime::RoutingGate;

// ONNX Runtime picks the registration whose types a node has.
template <bool HasResidual, typename Integer>
void add_quantised(Ort::CustomOpDomain& domain) {
    static const CustomOperator<QAdderConv2d<HasResidual, Integer, Integer>> quantised_output;
    static const CustomOperator<QAdderConv2d<HasResidual, Integer, float>> float_output;
    domain.Add(&quantised_output);
    domain.Add(&float_output);
}

// Operators and domain outlive every session: ONNX Runtime keeps pointers to them.
Ort::CustomOpDomain& domain() {
    static const CustomOperator<AdaptiveFilter> adaptive_filter;
    static const CustomOperator<AdderConv2d<false>> adder_conv2d;
    static const CustomOperator<AdderConv2d<true>> adder_conv2d_add;
    static const CustomOperator<RoutingDecision> routing_decision;
    static const CustomOperator<RoutingGate> routing_gate;
    static Ort::CustomOpDomain domain = [] {
        Ort::CustomOpDomain created("adroit");
        created.Add(&adaptive_filter);
        created.Add(&adder_conv2d);
        created.Add(&adder_conv2d_add);
        created.Add(&routing_decision);
        created.Add(&routing_gate);
        add_quantised<false, uint8_t>(created);
        add_quantised<false, int8_t>(created);
        add_quantised<true, uint8_t>(created);
        add_quantised<true, int8_t>(created);
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
    static const std::string answer = [] {
        try {
            return std::string(adroit::cpu::name(adroit::cpu::instruction_set()));
        } catch (const std::exception& e) {
            return std::string("error: ") + e.what();
        }
    }();
    return answer.c_str();
}

}  // extern "C"
