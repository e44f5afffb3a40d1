// Random shapes through the CPU kernels, in the instruction set that ADROIT_INSTRUCTION_SET names.
#include "kernel_tests.h"

#include "kernels/cpu/instruction_set.h"

int main() {
    std::printf("%s\n", adroit::cpu::name(adroit::cpu::instruction_set()));
    for (const auto is_right : {adroit::tests::adder_conv2d_is_right, adroit::tests::adaptive_filter_is_right,
                                adroit::tests::routing_gate_is_right})
        for (int i = 0; i < 150; ++i)
            if (!is_right()) return 1;
    return 0;
}
