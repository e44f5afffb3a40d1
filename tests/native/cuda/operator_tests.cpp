#include "operator_tests.h"

#include "../kernel_tests.h"
#include "quantized_adder_conv2d_tests.h"

namespace adroit::tests {
namespace {

bool run(const char* name, const char* type, bool (*is_right)(), int count) {
    for (int i = 0; i < count; ++i)
        if (!is_right()) return std::printf("%s %s failed at shape %d\n", name, type, i), false;
    std::printf("%s %s: %d shapes\n", name, type, count);
    return true;
}

}  // namespace

bool operators_are_right(int count) {
    if (!run("quantized_adder_conv2d", "8-bit", quantized_adder_conv2d_is_right, count) ||
        !run("routing_decision", "float32", routing_decision_is_right, count))
        return false;
    for (const bool half : {false, true}) {
        stored_as_half = half;
        const char* type = half ? "float16" : "float32";
        if (!run("adder_conv2d", type, adder_conv2d_is_right, count) ||
            !run("adaptive_filter", type, adaptive_filter_is_right, count) ||
            !run("routing_gate", type, routing_gate_is_right, count))
            return false;
    }
    return true;
}

}  // namespace adroit::tests
