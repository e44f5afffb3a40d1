#include "operator_tests.h"

#include "../kernel_tests.h"

namespace adroit::tests {

bool operators_are_right(int count) {
    for (const auto& [name, test] : OperatorTest::all())
        for (const bool half : {false, true}) {
            if (half && test.types == OperatorTest::Types::only_one) continue;
            stored_as_half = half;
            const char* type = half ? "float16" : "float32";
            for (int i = 0; i < count; ++i)
                if (!test.is_right()) return std::printf("%s %s failed at shape %d\n", name.c_str(), type, i), false;
            std::printf("%s %s: %d shapes\n", name.c_str(), type, count);
        }
    return true;
}

}  // namespace adroit::tests
