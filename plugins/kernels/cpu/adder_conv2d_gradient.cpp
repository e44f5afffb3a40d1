#include "kernels/cpu/adder_conv2d_gradient.h"

#include <algorithm>
#include <atomic>

#include "kernels/cpu/adder_conv2d_gradient_tile.h"
#include "kernels/cpu/adder_tiling.h"
#include "kernels/cpu/workspace.h"

namespace adroit::cpu {
namespace {

// Taps in a microsecond of one thread: rather fewer than the fastest CPUs do.
constexpr double kTapsPerMicrosecond = 15e3;

// Positions of X along one dimension with the remainder `phase` by the stride meet the outputs of tap `tap` so many
// places away (from `position / stride`); false where the tap meets none of them.
bool tap_offset(int64_t phase, int64_t pad, int64_t tap, int64_t stride, int64_t& offset) {
    offset = (phase + pad - tap) / stride;
    return (phase + pad - tap) % stride == 0;
}

struct Extent {
    int64_t before, size;
};

// What the panel needs along one dimension, where `block` positions of a phase are computed at once.
Extent extent(int64_t size, int64_t outputs, int64_t pad, int64_t kernel, int64_t stride, int64_t block) {
    int64_t lowest = 0, end = outputs;
    for (int64_t phase = 0; phase < std::min(stride, size); ++phase)
        for (int64_t tap = 0, offset; tap < kernel; ++tap) {
            if (!tap_offset(phase, pad, tap, stride, offset)) continue;
            const int64_t positions = divide_up(divide_up(size - phase, stride), block) * block;
            lowest = std::min(lowest, offset);
            end = std::max(end, positions + offset);
        }
    return {-lowest, end - lowest};
}

AdderGradientPlan plan_for(const AdderConv2dShape& s, int64_t pixels) {
    const Extent down = extent(s.height, s.out_height(), s.pad_top, s.kernel_height, s.stride_height, 1);
    const Extent along = extent(s.width, s.out_width(), s.pad_left, s.kernel_width, s.stride_width, pixels);
    AdderGradientPlan plan{{}, down.before, along.before, down.size, along.size};
    for (int64_t row = 0; row < std::min(s.stride_height, s.height); ++row)
        for (int64_t column = 0; column < std::min(s.stride_width, s.width); ++column) {
            AdderGradientPhase phase{row, column, {}};
            for (int64_t kh = 0, below; kh < s.kernel_height; ++kh)
                for (int64_t kw = 0, beside; kw < s.kernel_width; ++kw)
                    if (tap_offset(row, s.pad_top, kh, s.stride_height, below) &&
                        tap_offset(column, s.pad_left, kw, s.stride_width, beside))
                        phase.taps.push_back(
                            {kh * s.kernel_width + kw, (below * plan.columns + beside) * s.out_channels});
            plan.phases.push_back(phase);
        }
    return plan;
}

// [channels / lanes, rounded up][kH][kW][M][lanes]; lanes past the channels are 0.
std::vector<float> pack_weights(const AdderConv2dShape& s, const float* weights, int64_t lanes) {
    const int64_t window = s.kernel_height * s.kernel_width;
    std::vector<float> packed(divide_up(s.in_channels, lanes) * window * s.out_channels * lanes);
    for (int64_t m = 0; m < s.out_channels; ++m)
        for (int64_t c = 0; c < s.in_channels; ++c)
            for (int64_t tap = 0; tap < window; ++tap)
                packed[((c / lanes * window + tap) * s.out_channels + m) * lanes + c % lanes] =
                    weights[(m * s.in_channels + c) * window + tap];
    return packed;
}

// One image's gradient by the outputs, with zeros around it, filters innermost.
void fill_panel(const AdderConv2dShape& s, const AdderGradientPlan& plan, const float* y_gradient, float* panel) {
    std::fill_n(panel, plan.rows * plan.columns * s.out_channels, 0.0f);
    for (int64_t m = 0; m < s.out_channels; ++m)
        for (int64_t oh = 0; oh < s.out_height(); ++oh) {
            float* place = panel + ((oh + plan.rows_before) * plan.columns + plan.columns_before) * s.out_channels + m;
            for (int64_t ow = 0; ow < s.out_width(); ++ow) place[ow * s.out_channels] = *y_gradient++;
        }
}

// Each thread has its own.
struct Workspace {
    Buffer<float> panel, row;
    // The image whose panel it holds; calls are counted from 1.
    uint64_t call = 0;
    int64_t image = 0;
};

}  // namespace

void adder_conv2d_input_gradient(const AdderConv2dShape& shape, const float* x, const float* weights,
                                 const float* y_gradient, float* x_gradient, const ParallelFor& parallel_for) {
    const AdderGradientVariant kernel = ADROIT_VARIANT(adder_gradient_variant);
    const AdderGradientPlan plan = plan_for(shape, kernel.pixels);
    const std::vector<float> packed = pack_weights(shape, weights, kernel.lanes);
    const AdderGradientCall call{shape, plan, x, packed.data(), x_gradient};
    const int64_t blocks = divide_up(shape.in_channels, kernel.lanes),
                  outputs = shape.out_channels * shape.out_pixels();
    static std::atomic<uint64_t> calls{0};
    const uint64_t this_call = ++calls;

    parallel_for(shape.batch * blocks, shape.batch * shape.taps() * outputs / kTapsPerMicrosecond, [&](int64_t task) {
        thread_local Workspace workspace;
        const int64_t image = task / blocks;
        float* panel = workspace.panel.of_size(plan.rows * plan.columns * shape.out_channels);
        if (workspace.call != this_call || workspace.image != image) {
            fill_panel(shape, plan, y_gradient + image * outputs, panel);
            workspace.call = this_call;
            workspace.image = image;
        }
        float* row = workspace.row.of_size(2 * kernel.lanes * (shape.width + shape.stride_width * kernel.pixels));
        kernel.run_channels(call, image, task % blocks, panel, row);
    });
}

}  // namespace adroit::cpu
