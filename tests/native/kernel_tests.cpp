// Random shapes through the CPU kernels, in the instruction set that ADROIT_INSTRUCTION_SET names.
//
//   kernel_tests [SHAPES [QUANTIZED]]     how many of each kernel, 150 unless told; and of the quantized one
#include "kernel_tests.h"

#include <cstdlib>

#include "kernels/cpu/instruction_set.h"

int main(int count, char** arguments) {
    const int shapes = count > 1 ? std::atoi(arguments[1]) : 150;
    const int quantized = count > 2 ? std::atoi(arguments[2]) : shapes;
    std::printf("%s\n", adroit::cpu::name(adroit::cpu::instruction_set()));
    for (const auto is_right :
         {adroit::tests::adder_conv2d_is_right, adroit::tests::adder_conv2d_input_gradient_is_right,
          adroit::tests::adaptive_filter_is_right, adroit::tests::bilinear_upsample_is_right,
          adroit::tests::routing_decision_is_right, adroit::tests::routing_gate_is_right})
        for (int i = 0; i < shapes; ++i)
            if (!is_right()) return 1;
    for (int i = 0; i < quantized; ++i)
        if (!adroit::tests::quantized_adder_conv2d_is_right()) return 1;
    return 0;
}
