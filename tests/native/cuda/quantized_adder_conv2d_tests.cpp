#include "device_buffer.h"
#include "kernels/cuda/quantized_adder_conv2d.h"

namespace adroit::tests {
namespace {

// Any values of an 8-bit type.
std::vector<int> random_bytes(int64_t count, int low) {
    std::vector<int> values(static_cast<size_t>(count));
    for (int& value : values) value = static_cast<int>(pick(low, low + 255));
    return values;
}

AdderConv2dShape random_shape() {
    AdderConv2dShape s{};
    // Channels in sixteens give weights that can be read 16 bytes at a time.
    const int64_t channels = pick(0, 1) ? 16 * pick(1, 3) : pick(1, 20),
                  filters = pick(0, 9) ? pick(1, 40) : pick(100, 140);
    do {
        s = {pick(1, 2), channels,   filters,    pick(1, 20), pick(1, 20), pick(1, 4), pick(1, 4),
             pick(1, 3), pick(1, 3), pick(0, 3), pick(0, 3),  pick(0, 3),  pick(0, 3)};
    } while (s.height + s.pad_top + s.pad_bottom < s.kernel_height ||
             s.width + s.pad_left + s.pad_right < s.kernel_width);
    return s;
}

int64_t distance(const AdderConv2dShape& s, const int* x, const int* w, int zero_point, int64_t n, int64_t m,
                 int64_t oh, int64_t ow) {
    int64_t sum = 0;
    for (int64_t c = 0; c < s.in_channels; ++c)
        for (int64_t kh = 0; kh < s.kernel_height; ++kh)
            for (int64_t kw = 0; kw < s.kernel_width; ++kw) {
                const int64_t ih = oh * s.stride_height - s.pad_top + kh, iw = ow * s.stride_width - s.pad_left + kw;
                const bool inside = ih >= 0 && ih < s.height && iw >= 0 && iw < s.width;
                const int value = inside ? x[((n * s.in_channels + c) * s.height + ih) * s.width + iw] : zero_point;
                sum += std::abs(value - w[((m * s.in_channels + c) * s.kernel_height + kh) * s.kernel_width + kw]);
            }
    return sum;
}

bool quantized_adder_conv2d_is_right() {
    const AdderConv2dShape s = random_shape();
    const int64_t outputs = s.batch * s.out_channels * s.out_pixels();
    const bool is_signed = pick(0, 1), with_residual = pick(0, 1);
    const int low = is_signed ? -128 : 0;
    const auto x = random_bytes(s.batch * s.in_channels * s.height * s.width, low),
               w = random_bytes(s.out_channels * s.taps(), low), residual = random_bytes(outputs, low);
    DeviceBuffer<uint8_t> in(x.data(), static_cast<int64_t>(x.size())),
        filters(w.data(), static_cast<int64_t>(w.size())), rests(residual.data(), outputs);
    const auto scale = noise(s.out_channels, 0.1f), shift = noise(s.out_channels, 10.0f);
    DeviceBuffer<float> scales(scale.data(), s.out_channels), shifts(shift.data(), s.out_channels), plain(outputs);
    DeviceBuffer<uint8_t> quantized(outputs);
    cuda::QuantizedAdderEpilogue e{};
    e.scale = scales.data();
    e.shift = shifts.data();
    e.residual = with_residual ? rests.data() : nullptr;
    e.residual_scale = 0.05f;
    e.residual_zero_point = static_cast<int>(pick(low, low + 255));
    e.relu = pick(0, 1);
    e.quantized_output = pick(0, 1);
    e.output_scale = static_cast<float>(s.taps()) * 0.05f;
    e.output_zero_point = static_cast<int>(pick(low, low + 255));
    e.x_zero_point = static_cast<int>(pick(low, low + 255));
    e.is_signed = is_signed;
    choose_device();
    if (cuda::quantized_adder_conv2d(test_stream(), s, in.data(), filters.data(), e,
                                     e.quantized_output ? static_cast<void*>(quantized.data()) : plain.data()))
        return std::printf("the launcher gave an error\n"), false;
    std::vector<float> y(static_cast<size_t>(outputs));
    std::vector<uint8_t> stored_bytes(static_cast<size_t>(outputs));
    e.quantized_output ? quantized.copy_to(stored_bytes.data()) : plain.copy_to(y.data());

    int64_t i = 0;
    for (int64_t n = 0; n < s.batch; ++n)
        for (int64_t m = 0; m < s.out_channels; ++m)
            for (int64_t oh = 0; oh < s.out_height(); ++oh)
                for (int64_t ow = 0; ow < s.out_width(); ++ow, ++i) {
                    const int64_t sum = distance(s, x.data(), w.data(), e.x_zero_point, n, m, oh, ow);
                    float expected = shift[m] - scale[m] * static_cast<float>(sum);
                    if (with_residual)
                        expected += e.residual_scale * static_cast<float>(residual[i] - e.residual_zero_point);
                    if (e.relu && expected < 0.0f) expected = 0.0f;
                    if (!e.quantized_output) {
                        if (!is_close("quantized_adder_conv2d", i, y[i], expected, 0.0)) return false;
                        continue;
                    }
                    const int stored = is_signed ? static_cast<int8_t>(stored_bytes[i]) : stored_bytes[i];
                    const float step = std::nearbyint(expected / e.output_scale) + float(e.output_zero_point);
                    const float clamped = std::fmin(std::fmax(step, float(low)), float(low + 255));
                    if (!is_close("quantized_adder_conv2d", i, stored, clamped, 0.0)) return false;
                }
    return true;
}

const OperatorTest test("quantized_adder_conv2d", quantized_adder_conv2d_is_right);

}  // namespace

}  // namespace adroit::tests
