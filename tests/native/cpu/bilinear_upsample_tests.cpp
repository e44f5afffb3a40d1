#include <algorithm>

#include "kernel_tests.h"

namespace adroit::tests {
namespace {

BilinearUpsampleShape random_shape() {
    const int64_t factor = pick(0, 1) ? 2 : 4;
    // Some maps are wider or higher than a tile of the kernel.
    const bool wide = pick(0, 4) == 0, high = pick(0, 4) == 0;
    return {pick(1, 5), high ? pick(60, 140) : pick(1, 20), wide ? pick(250, 1100) : pick(1, 40), factor};
}

// Of an output index along one dimension of X: its two neighbors, and how far between them it lies.
struct Between {
    int64_t first, second;
    double part;
};

Between between(int64_t index, int64_t factor, int64_t size) {
    const double at = (static_cast<double>(index) + 0.5) / static_cast<double>(factor) - 0.5, floor = std::floor(at);
    const auto clamped = [&](double place) { return std::clamp(static_cast<int64_t>(place), int64_t{0}, size - 1); };
    return {clamped(floor), clamped(floor + 1.0), at - floor};
}

bool bilinear_upsample_is_right() {
    const BilinearUpsampleShape s = random_shape();
    const auto x = noise(s.planes * s.height * s.width, 1.0f);
    std::vector<float> y(static_cast<size_t>(s.planes * s.out_height() * s.out_width()));
    run_bilinear_upsample(s, x.data(), y.data());

    for (int64_t i = 0; i < static_cast<int64_t>(y.size()); ++i) {
        const int64_t column = i % s.out_width(), row = i / s.out_width() % s.out_height();
        const float* plane = x.data() + i / s.out_width() / s.out_height() * s.height * s.width;
        const Between rows = between(row, s.factor, s.height), columns = between(column, s.factor, s.width);
        double value = 0.0, magnitude = 0.0;
        for (const bool below : {false, true})
            for (const bool right : {false, true}) {
                const double input =
                    plane[(below ? rows.second : rows.first) * s.width + (right ? columns.second : columns.first)];
                const double weight =
                    (below ? rows.part : 1.0 - rows.part) * (right ? columns.part : 1.0 - columns.part);
                value += weight * input;
                magnitude += weight * std::fabs(input);
            }
        if (!is_close("bilinear_upsample", i, y[i], value, rounding_limit(value, magnitude, 4))) return false;
    }
    return true;
}

const OperatorTest test("bilinear_upsample", bilinear_upsample_is_right);

}  // namespace

}  // namespace adroit::tests
