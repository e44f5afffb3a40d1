// Random shapes through the CUDA kernels on this machine's GPU; compute-sanitizer runs this program.
//
//   device_tests [count]    shapes for each operator and type
#include <cstdlib>

#include "../operator_tests.h"

int main(int arguments, char** values) {
    return adroit::tests::operators_are_right(arguments > 1 ? std::atoi(values[1]) : 60) ? 0 : 1;
}
