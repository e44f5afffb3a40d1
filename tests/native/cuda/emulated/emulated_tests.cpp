// Random shapes through the CUDA kernels on the emulated device.
//
//   emulated_tests [count]    shapes for each operator and type
//   emulated_tests race | overrun    a kernel with that fault, which the sanitizers must find
#include <cstdlib>
#include <memory>
#include <string>

#include "../operator_tests.h"
#include "emulator.h"
#include "plan_tests.h"

namespace {

struct Fault {
    bool race;
    float* y;
};

// Each thread writes its place and reads its neighbor's: without a barrier between, or one place too far.
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
    return plans_are_right() && operators_are_right(count) ? 0 : 1;
}
