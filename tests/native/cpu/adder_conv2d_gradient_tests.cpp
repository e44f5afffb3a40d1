#include <algorithm>

#include "kernel_tests.h"

namespace adroit::tests {
namespace {

AdderConv2dShape random_shape() {
    AdderConv2dShape s{};
    do {
        s = {pick(1, 2), pick(1, 40), pick(1, 19), pick(1, 20), pick(1, 40), pick(1, 5), pick(1, 5),
             pick(1, 4), pick(1, 4),  pick(0, 5),  pick(0, 5),  pick(0, 5),  pick(0, 5)};
    } while (s.height + s.pad_top + s.pad_bottom < s.kernel_height ||
             s.width + s.pad_left + s.pad_right < s.kernel_width);
    return s;
}

struct Sum {
    double value = 0.0, magnitude = 0.0;
};

// Every output adds to the inputs of its window, as the formula of the forward pass has them.
std::vector<Sum> plain_gradient(const AdderConv2dShape& s, const float* x, const float* w, const float* y_gradient) {
    std::vector<Sum> sums(static_cast<size_t>(s.batch * s.in_channels * s.height * s.width));
    for (int64_t n = 0; n < s.batch; ++n)
        for (int64_t m = 0; m < s.out_channels; ++m)
            for (int64_t pixel = 0; pixel < s.out_pixels(); ++pixel)
                for (int64_t tap = 0; tap < s.taps(); ++tap) {
                    const int64_t window = s.kernel_height * s.kernel_width, c = tap / window;
                    const int64_t kh = tap % window / s.kernel_width, kw = tap % s.kernel_width;
                    const int64_t ih = pixel / s.out_width() * s.stride_height - s.pad_top + kh;
                    const int64_t iw = pixel % s.out_width() * s.stride_width - s.pad_left + kw;
                    if (ih < 0 || ih >= s.height || iw < 0 || iw >= s.width) continue;
                    const int64_t at = ((n * s.in_channels + c) * s.height + ih) * s.width + iw;
                    const double difference = double(w[m * s.taps() + tap]) - x[at];
                    const double term = std::clamp(difference, -1.0, 1.0) *
                                        y_gradient[(n * s.out_channels + m) * s.out_pixels() + pixel];
                    sums[at].value += term;
                    sums[at].magnitude += std::fabs(term);
                }
    return sums;
}

bool adder_conv2d_input_gradient_is_right() {
    const AdderConv2dShape s = random_shape();
    const auto x = noise(s.batch * s.in_channels * s.height * s.width, 1.0f),
               w = noise(s.out_channels * s.taps(), 1.0f);
    const auto y_gradient = noise(s.batch * s.out_channels * s.out_pixels(), 1.0f);
    std::vector<float> x_gradient(x.size());
    run_adder_conv2d_input_gradient(s, x.data(), w.data(), y_gradient.data(), x_gradient.data());
    const auto expected = plain_gradient(s, x.data(), w.data(), y_gradient.data());
    for (size_t i = 0; i < x.size(); ++i) {
        // A difference is rounded too, against the larger of W and X rather than the clipped value.
        const int64_t terms = s.out_channels * s.kernel_height * s.kernel_width;
        const double limit = rounding_limit(expected[i].value, expected[i].magnitude + terms, terms);
        if (!is_close("adder_conv2d_input_gradient", i, x_gradient[i], expected[i].value, limit)) return false;
    }
    return true;
}

const OperatorTest test("adder_conv2d_input_gradient", adder_conv2d_input_gradient_is_right);

}  // namespace

}  // namespace adroit::tests
