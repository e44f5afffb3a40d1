// Random shapes through the CPU kernels, in the instruction set that ADROIT_INSTRUCTION_SET names.
//
//   kernel_tests [SHAPES [QUANTIZED]]     how many of each kernel (default 150), and of the quantized one
#include "kernel_tests.h"

#include <cstdlib>

#include "kernels/cpu/instruction_set.h"

int main(int count, char** arguments) {
    const int shapes = count > 1 ? std::atoi(arguments[1]) : 150;
    const int quantized = count > 2 ? std::atoi(arguments[2]) : shapes;
    std::printf("%s\n", adroit::cpu::name(adroit::cpu::instruction_set()));
    for (const auto& [name, test] : adroit::tests::OperatorTest::all())
        for (int i = 0; i < (name == "quantized_adder_conv2d" ? quantized : shapes); ++i)
            if (!test.is_right()) return std::printf("%s failed at shape %d\n", name.c_str(), i), 1;
    return 0;
}
