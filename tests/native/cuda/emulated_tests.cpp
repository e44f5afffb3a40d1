// Random shapes through the CUDA kernels on the emulated device.
//
//   emulated_tests [count]    shapes for each operator and type
#include <cstdlib>

#include "../kernel_tests.h"
#include "quantised_adder_conv2d_tests.h"
#include "plan_tests.h"

namespace {

bool run(const char* name, bool (*is_right)(), int count) {
    for (int i = 0; i < count; ++i)
        if (!is_right()) return std::printf("%s failed at shape %d\n", name, i), false;
    std::printf("%s: %d shapes\n", name, count);
    return true;
}

}  // namespace

int main(int arguments, char** values) {
    using namespace adroit::tests;
    const int count = arguments > 1 ? std::atoi(values[1]) : 60;
    bool right = plans_are_right() && run("quantised_adder_conv2d", quantised_adder_conv2d_is_right, count);
    for (const bool half : {false, true}) {
        stored_as_half = half;
        right = right && run(half ? "adder_conv2d float16" : "adder_conv2d float32", adder_conv2d_is_right, count) &&
                run(half ? "adaptive_filter float16" : "adaptive_filter float32", adaptive_filter_is_right, count) &&
                run(half ? "routing_gate float16" : "routing_gate float32", routing_gate_is_right, count);
    }
    return right ? 0 : 1;
}
