#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "kernel_tests.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/quantized_adder_conv2d.h"

namespace adroit::tests {
namespace {

AdderConv2dShape random_shape() {
    AdderConv2dShape s{};
    do {
        // Half of them what the faster kernels are for; few so wide that a row is more than one tile.
        const bool usual = pick(0, 1);
        const int64_t kernel_height = usual ? 3 : pick(1, 5), kernel_width = usual ? 3 : pick(1, 5);
        const int64_t stride = usual ? 1 : pick(1, 4), width = pick(0, 19) ? pick(1, 40) : pick(200, 600);
        const int64_t channels = pick(0, 19) ? pick(1, 40) : pick(250, 270);
        s = {pick(1, 2),   channels,    pick(1, 40),
             width,        pick(1, 19), kernel_height,
             kernel_width, stride,      pick(0, 3) ? stride : pick(1, 4),
             pick(0, 3),   pick(0, 3),  pick(0, 3),
             pick(0, 3)};
    } while (s.height + s.pad_top + s.pad_bottom < s.kernel_height ||
             s.width + s.pad_left + s.pad_right < s.kernel_width);
    return s;
}

// A buffer of its own, exactly as large as the values: a vector may have room to spare.
template <typename Integer>
std::unique_ptr<Integer[]> integers(int64_t count) {
    std::unique_ptr<Integer[]> values(new Integer[static_cast<size_t>(count)]);
    const int64_t low = std::numeric_limits<Integer>::min(), high = std::numeric_limits<Integer>::max();
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<Integer>(pick(low, high));
    return values;
}

template <typename Integer>
int64_t distance(const AdderConv2dShape& s, const Integer* x, const Integer* w, int64_t zero_point, int64_t oh,
                 int64_t ow) {
    int64_t sum = 0;
    for (int64_t c = 0; c < s.in_channels; ++c)
        for (int64_t kh = 0; kh < s.kernel_height; ++kh)
            for (int64_t kw = 0; kw < s.kernel_width; ++kw, ++w) {
                const int64_t ih = oh * s.stride_height - s.pad_top + kh, iw = ow * s.stride_width - s.pad_left + kw;
                const bool inside = ih >= 0 && ih < s.height && iw >= 0 && iw < s.width;
                sum += std::abs((inside ? x[(c * s.height + ih) * s.width + iw] : zero_point) - *w);
            }
    return sum;
}

// The definition in operators.toml, one operation a statement.
float expected_value(const cpu::QuantizedAdderEpilogue& e, int64_t filter, int64_t sum, int64_t residual) {
    const float product = e.scale[filter] * static_cast<float>(sum);
    float value = e.shift[filter] - product;
    if (e.residual) {
        const float real = e.residual_scale * static_cast<float>(residual - e.residual_zero_point);
        value = value + real;
    }
    return e.relu && value < 0.0f ? 0.0f : value;
}

template <typename Integer>
int64_t expected_integer(const cpu::QuantizedAdderEpilogue& e, float value) {
    const float rounded = std::nearbyint(value / e.output_scale);
    const double moved = static_cast<double>(rounded) + e.output_zero_point;
    return static_cast<int64_t>(
        std::clamp<double>(moved, std::numeric_limits<Integer>::min(), std::numeric_limits<Integer>::max()));
}

template <typename Integer>
bool is_right() {
    const AdderConv2dShape s = random_shape();
    const int64_t plane = s.height * s.width, outputs = s.batch * s.out_channels * s.out_pixels();
    const auto x = integers<Integer>(s.batch * s.in_channels * plane), w = integers<Integer>(s.out_channels * s.taps()),
               rest = integers<Integer>(outputs), zero_points = integers<Integer>(3);
    // The largest sums there are, in one of eight: counts must be widened before they overflow.
    if (pick(0, 7) == 0) {
        Integer extremes[] = {std::numeric_limits<Integer>::min(), std::numeric_limits<Integer>::max()};
        if (pick(0, 1)) std::swap(extremes[0], extremes[1]);
        std::fill_n(x.get(), s.batch * s.in_channels * plane, extremes[0]);
        std::fill_n(w.get(), s.out_channels * s.taps(), extremes[1]);
    }
    const float steps = 1.0f / std::sqrt(static_cast<float>(s.taps()));
    const auto scale = noise(s.out_channels, steps);
    auto shift = noise(s.out_channels, 50.0f);
    for (int64_t m = 0; m < s.out_channels; ++m) shift[m] += scale[m] * 85.0f * static_cast<float>(s.taps());
    const cpu::QuantizedAdderEpilogue epilogue{scale.data(),   shift.data(),   pick(0, 1) ? rest.get() : nullptr,
                                               0.7f,           zero_points[1], pick(0, 1) == 1,
                                               pick(0, 3) > 0, 0.9f,           zero_points[2]};
    const std::unique_ptr<float[]> floats(new float[static_cast<size_t>(outputs)]);
    const std::unique_ptr<Integer[]> bytes(new Integer[static_cast<size_t>(outputs)]);
    void* y = epilogue.quantized ? static_cast<void*>(bytes.get()) : floats.get();
    constexpr bool is_signed = std::numeric_limits<Integer>::is_signed;
    // Also those steps that this CPU is better without.
    const auto step = static_cast<cpu::QuantizedStep>(pick(0, 2));
    const auto packed = cpu::pack_quantized_weights(s, w.get(), is_signed, step);
    const bool fits = s.stride_width == 1 && (s.kernel_width == 3 || s.kernel_width == 4);
    if (step == cpu::QuantizedStep::windows && fits && cpu::instruction_set() != cpu::InstructionSet::generic &&
        !packed.windows) {
        std::printf("quantized_adder_conv2d did not take the requested windows\n");
        return false;
    }
    cpu::quantized_adder_conv2d(cpu::plan_quantized_adder_conv2d(s, packed.windows),
                                {x.get(), is_signed, zero_points[0]}, packed, epilogue, y, cpu::run_serially);
    int64_t i = 0;
    for (int64_t n = 0; n < s.batch; ++n)
        for (int64_t m = 0; m < s.out_channels; ++m)
            for (int64_t oh = 0; oh < s.out_height(); ++oh)
                for (int64_t ow = 0; ow < s.out_width(); ++ow, ++i) {
                    const int64_t sum = distance(s, x.get() + n * s.in_channels * plane, w.get() + m * s.taps(),
                                                 zero_points[0], oh, ow);
                    const float value = expected_value(epilogue, m, sum, rest[i]);
                    const bool right =
                        epilogue.quantized
                            ? is_close("quantized_adder_conv2d", i, bytes[i],
                                       static_cast<double>(expected_integer<Integer>(epilogue, value)), 0.0)
                            : is_close("quantized_adder_conv2d as float", i, floats[i], value, 0.0);
                    if (!right) return false;
                }
    return true;
}

bool quantized_adder_conv2d_is_right() { return pick(0, 1) ? is_right<uint8_t>() : is_right<int8_t>(); }

const OperatorTest test("quantized_adder_conv2d", quantized_adder_conv2d_is_right);

}  // namespace

}  // namespace adroit::tests
