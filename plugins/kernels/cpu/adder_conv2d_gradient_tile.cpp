// Compiled once per instruction set (see vector.h). Lanes are channels: X and W of a tap are vectors, what comes from
// the output is one number for all of them.
#include "kernels/cpu/adder_conv2d_gradient_tile.h"

#include <algorithm>

#include "kernels/cpu/vector_math.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {
namespace {

// Pixels of a register block: a sum and a value of X each, beside a weight.
#if defined(__AVX512F__)
constexpr int kPixels = 8;
#else
constexpr int kPixels = 4;
#endif
constexpr int64_t kLanes = Vector::kLanes;

// One block of pixels. x and total: of its first pixel, the others `step` floats apart. Sums are closed after each tap
// of the window: a sum that is closed every so many terms loses fewer bits than one running sum.
template <int Pixels>
void add_taps(const AdderGradientPhase& phase, int64_t filters, const float* weights, const float* outputs,
              const float* x, int64_t step, float* total) {
    Vector value[Pixels];
    for (int i = 0; i < Pixels; ++i) {
        value[i] = Vector::load(x + i * step);
        Vector::broadcast(0.0f).store(total + i * step);
    }
    for (const AdderGradientTap& tap : phase.taps) {
        const float *w = weights + tap.weights * filters * kLanes, *dy = outputs + tap.outputs;
        Vector sum[Pixels];
        for (auto& each : sum) each = Vector::broadcast(0.0f);
        for (int64_t m = 0; m < filters; ++m, w += kLanes) {
            const Vector weight = Vector::load(w);
            for (int i = 0; i < Pixels; ++i)
                sum[i] = multiply_add(clip_to_one(weight - value[i]), Vector::broadcast(dy[i * filters + m]), sum[i]);
        }
        for (int i = 0; i < Pixels; ++i) (Vector::load(total + i * step) + sum[i]).store(total + i * step);
    }
}

// A row of X, its channels of this block innermost, or the way back.
void gather_row(const float* plane_row, int64_t plane, int64_t channels, int64_t width, float* row) {
    for (int64_t c = 0; c < channels; ++c)
        for (int64_t i = 0; i < width; ++i) row[i * kLanes + c] = plane_row[c * plane + i];
}

void scatter_row(const float* row, int64_t plane, int64_t channels, int64_t width, float* plane_row) {
    for (int64_t c = 0; c < channels; ++c)
        for (int64_t i = 0; i < width; ++i) plane_row[c * plane + i] = row[i * kLanes + c];
}

void run_channels(const AdderGradientCall& call, int64_t image, int64_t block, const float* panel, float* row) {
    const AdderConv2dShape& s = call.shape;
    const int64_t plane = s.height * s.width, filters = s.out_channels;
    const int64_t channels = std::min(kLanes, s.in_channels - block * kLanes);
    const float* weights = call.packed_weights + block * s.kernel_height * s.kernel_width * filters * kLanes;
    const int64_t first = (image * s.in_channels + block * kLanes) * plane, step = s.stride_width * kLanes;
    float* total = row + (s.width + s.stride_width * kPixels) * kLanes;
    for (int64_t ih = 0; ih < s.height; ++ih) {
        gather_row(call.x + first + ih * s.width, plane, channels, s.width, row);
        for (const AdderGradientPhase& phase : call.plan.phases) {
            if (phase.first_row != ih % s.stride_height) continue;
            const float* outputs = panel + (ih / s.stride_height + call.plan.rows_before) * call.plan.columns * filters;
            int64_t place = call.plan.columns_before;
            for (int64_t iw = phase.first_column; iw < s.width;) {
                const bool many = iw + kPixels / 2 * s.stride_width < s.width;
                (many ? add_taps<kPixels> : add_taps<kPixels / 2>)(phase, filters, weights, outputs + place * filters,
                                                                   row + iw * kLanes, step, total + iw * kLanes);
                const int64_t done = many ? kPixels : kPixels / 2;
                place += done;
                iw += done * s.stride_width;
            }
        }
        scatter_row(total, plane, channels, s.width, call.x_gradient + first + ih * s.width);
    }
}

}  // namespace

AdderGradientVariant adder_gradient_variant() { return {kLanes, kPixels, run_channels}; }

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
