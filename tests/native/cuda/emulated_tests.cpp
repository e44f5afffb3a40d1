// Random shapes through the CUDA kernels on the emulated device.
//
//   emulated_tests [count]    shapes for each operator and type
//   emulated_tests race | overrun    a kernel with that fault, which the sanitizers must find
#include <cstdlib>
#include <memory>
#include <string>

#include "../kernel_tests.h"
#include "emulator.h"
#include "plan_tests.h"
#include "quantised_adder_conv2d_tests.h"

namespace {

bool run(const char* name, bool (*is_right)(), int count) {
    for (int i = 0; i < count; ++i)
        if (!is_right()) return std::printf("%s failed at shape %d\n", name, i), false;
    std::printf("%s: %d shapes\n", name, count);
    return true;
}

struct Fault {
    bool race;
    float* y;
};

// Each thread writes its place and reads its neighbour's: without a barrier between, or one place too far.
ADROIT_KERNEL(64, 1)
faulty_kernel(const Fault fault) {
    struct Shared {
        float values[64];
    };
    ADROIT_SHARED(Shared, shared);
    shared.values[threadIdx.x] = 1.0f;
    if (!fault.race) __syncthreads();
    fault.y[threadIdx.x + !fault.race] = shared.values[threadIdx.x ^ 1];
}

int run_faulty(bool race) {
    const std::unique_ptr<float[]> y(new float[64]);
    adroit::cuda::launch(faulty_kernel, 1, 64, nullptr, Fault{race, y.get()});
    return 0;
}

}  // namespace

int main(int arguments, char** values) {
    using namespace adroit::tests;
    const std::string what = arguments > 1 ? values[1] : "";
    if (what == "race" || what == "overrun") return run_faulty(what == "race");
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
