#include <algorithm>

#include "kernel_tests.h"

namespace adroit::tests {
namespace {

AdderConv2dShape random_shape() {
    AdderConv2dShape s{};
    // Some have more filters than a tile of the kernel.
    const bool many = pick(0, 9) == 0;
    const int64_t filters = many ? pick(100, 150) : pick(1, 19), side = many ? 12 : 40;
    do {
        s = {pick(1, 2), pick(1, 20), filters,    pick(1, side), pick(1, side), pick(1, 5), pick(1, 5),
             pick(1, 4), pick(1, 4),  pick(0, 3), pick(0, 3),    pick(0, 3),    pick(0, 3)};
    } while (s.height + s.pad_top + s.pad_bottom < s.kernel_height ||
             s.width + s.pad_left + s.pad_right < s.kernel_width);
    return s;
}

// The sum of absolute differences at one output position.
double distance(const AdderConv2dShape& s, const float* x, const float* w, int64_t n, int64_t m, int64_t oh,
                int64_t ow) {
    double sum = 0.0;
    for (int64_t c = 0; c < s.in_channels; ++c)
        for (int64_t kh = 0; kh < s.kernel_height; ++kh)
            for (int64_t kw = 0; kw < s.kernel_width; ++kw) {
                const int64_t ih = oh * s.stride_height - s.pad_top + kh, iw = ow * s.stride_width - s.pad_left + kw;
                const bool inside = ih >= 0 && ih < s.height && iw >= 0 && iw < s.width;
                const double value = inside ? x[((n * s.in_channels + c) * s.height + ih) * s.width + iw] : 0.0;
                sum += std::fabs(value - w[((m * s.in_channels + c) * s.kernel_height + kh) * s.kernel_width + kw]);
            }
    return sum;
}

// X and W of either sign; as behind a ReLU, where the kernel takes maxima; or far from 0 compared with their
// spread, where maxima would lose all bits.
struct Data {
    std::vector<float> x, w;

    explicit Data(const AdderConv2dShape& s)
        : x(noise(s.batch * s.in_channels * s.height * s.width, 1.0f)), w(noise(s.out_channels * s.taps(), 3.0f)) {
        const int64_t kind = pick(0, 2);
        if (kind == 0) return;
        // Padded taps add all of it: sums of hundreds are beyond float16.
        const float far = stored_as_half ? 10.0f : 100.0f;
        for (float& value : x) value = kind == 1 ? std::max(value, 0.0f) : as_stored(far + 0.01f * value);
        if (kind == 2)
            for (float& value : w) value = as_stored(far + 0.01f * value);
    }
};

bool adder_conv2d_is_right() {
    const AdderConv2dShape s = random_shape();
    const bool residual = pick(0, 1), relu = pick(0, 1);
    const int64_t outputs = s.batch * s.out_channels * s.out_pixels();
    const auto [x, w] = Data(s);
    const auto scale = noise(s.out_channels, 1.0f), shift = noise(s.out_channels, 10.0f), rest = noise(outputs, 1.0f);
    std::vector<float> y(static_cast<size_t>(outputs));
    run_adder_conv2d(s, x.data(), w.data(), scale.data(), shift.data(), residual ? rest.data() : nullptr, relu,
                     y.data());
    int64_t i = 0;
    for (int64_t n = 0; n < s.batch; ++n)
        for (int64_t m = 0; m < s.out_channels; ++m)
            for (int64_t oh = 0; oh < s.out_height(); ++oh)
                for (int64_t ow = 0; ow < s.out_width(); ++ow, ++i) {
                    const double sum = distance(s, x.data(), w.data(), n, m, oh, ow);
                    double expected = shift[m] - double(scale[m]) * sum + (residual ? rest[i] : 0.0f);
                    if (relu && expected < 0.0) expected = 0.0;
                    const double magnitude = std::fabs(shift[m]) + std::fabs(scale[m]) * sum + std::fabs(rest[i]);
                    const double limit =
                        rounding_limit(expected, magnitude, s.taps()) + storage_limit(expected) + 1e-30;
                    if (!is_close("adder_conv2d", i, y[i], expected, limit)) return false;
                }
    return true;
}

const OperatorTest test("adder_conv2d", adder_conv2d_is_right, OperatorTest::Types::float32_and_float16);

}  // namespace

}  // namespace adroit::tests
