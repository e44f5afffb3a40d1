// Compiled once per instruction set (see vector.h). The sum is a matrix product in which
// |x - w| stands for x * w: a panel of X [taps][pixels] is gathered for a tile of pixels, and a
// register block of filters x pixels runs over it. Gathering makes stride, padding and odd sizes
// one case, and costs a copy per filter count's worth of arithmetic.
#include "kernels/cpu/adder_conv2d_tile.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cpu/vector.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {
namespace {

// Register block: filters x vectors accumulators, plus the pixel vectors, one weight, one term. Many
// pixels for few filters: the weights of a small map are read once, not once for every few pixels.
// Taps per pass: panel and weights of a pass stay in the first-level cache, and a sum that is closed
// every so many taps loses fewer bits than one running sum.
#if defined(__AVX512F__)
constexpr int kFilters = 4, kVectors = 6;
constexpr int64_t kTaps = 64;
#else
constexpr int kFilters = 4, kVectors = 2;
constexpr int64_t kTaps = 128;
#endif
constexpr int64_t kPixels = int64_t{kVectors} * Vector::kLanes;

// One row of the panel: the input values that tap (channel, kh, kw) meets at the tile's pixels.
void gather_tap(const AdderConv2dShape& s, const float* plane, int64_t kh, int64_t kw, const AdderConv2dTile& tile,
                float* row) {
    const int64_t out_width = s.out_width();
    int64_t oh = tile.first_pixel / out_width, ow = tile.first_pixel % out_width;
    for (int64_t done = 0; done < tile.pixels; ++oh, ow = 0) {
        const int64_t run = std::min(out_width - ow, tile.pixels - done);
        float* out = row + done;
        done += run;
        const int64_t ih = oh * s.stride_height - s.pad_top + kh;
        const int64_t iw = ow * s.stride_width - s.pad_left + kw;
        if (ih < 0 || ih >= s.height) {
            std::fill_n(out, run, 0.0f);
            continue;
        }
        // Pixels [begin, end) of the run lie inside the image, the others in the padding.
        const int64_t stride = s.stride_width;
        const int64_t begin = iw >= 0 ? 0 : std::min(run, (-iw + stride - 1) / stride);
        const int64_t end = std::max(begin, std::min(run, s.width > iw ? (s.width - iw + stride - 1) / stride : 0));
        const float* in = plane + ih * s.width + iw;
        std::fill_n(out, begin, 0.0f);
        if (stride == 1) {
            if (end > begin) std::memcpy(out + begin, in + begin, sizeof(float) * (end - begin));
        } else {
            for (int64_t i = begin; i < end; ++i) out[i] = in[i * stride];
        }
        std::fill_n(out + end, run - end, 0.0f);
    }
}

// sums[filter][pixel] += sum over taps of |panel - weight| for one register block.
template <int Vectors>
void accumulate_block(const float* panel, const float* weights, int64_t taps, float* sums) {
    Vector total[kFilters][Vectors];
    for (auto& row : total)
        for (auto& value : row) value = Vector::broadcast(0.0f);
    for (int64_t k = 0; k < taps; ++k, panel += kPixels, weights += kFilters) {
        Vector x[Vectors];
        for (int v = 0; v < Vectors; ++v) x[v] = Vector::load(panel + v * Vector::kLanes);
        for (int m = 0; m < kFilters; ++m) {
            const Vector w = Vector::broadcast(weights[m]);
            for (int v = 0; v < Vectors; ++v) total[m][v] = total[m][v] + absolute(x[v] - w);
        }
    }
    for (int m = 0; m < kFilters; ++m)
        for (int v = 0; v < Vectors; ++v) {
            float* sum = sums + m * kPixels + v * Vector::kLanes;
            (Vector::load(sum) + total[m][v]).store(sum);
        }
}

using AccumulateBlock = void (*)(const float*, const float*, int64_t, float*);

template <int... Less>
AccumulateBlock accumulate_for(int64_t pixels, std::integer_sequence<int, Less...>) {
    constexpr AccumulateBlock of_vectors[] = {accumulate_block<Less + 1>...};
    return of_vectors[(pixels - 1) / Vector::kLanes];
}

void finish_filter(const float* sums, float scale, float shift, const float* residual, bool relu, int64_t pixels,
                   float* y) {
    if (residual)
        for (int64_t i = 0; i < pixels; ++i) y[i] = (shift - scale * sums[i]) + residual[i];
    else
        for (int64_t i = 0; i < pixels; ++i) y[i] = shift - scale * sums[i];
    // A comparison that is false for NaN keeps NaN, as the frameworks' ReLU does.
    if (relu)
        for (int64_t i = 0; i < pixels; ++i) y[i] = y[i] < 0.0f ? 0.0f : y[i];
}

void run_tile(const AdderConv2dShape& s, const float* x, const float* packed_weights,
              const AdderConv2dEpilogue& epilogue, float* y, const AdderConv2dTile& tile) {
    alignas(64) float panel[kTaps * kPixels];
    alignas(64) float sums[kFiltersPerTile * kPixels];
    const int64_t taps = s.taps(), window = s.kernel_height * s.kernel_width, plane = s.height * s.width;
    const AccumulateBlock accumulate = accumulate_for(tile.pixels, std::make_integer_sequence<int, kVectors>());
    std::fill_n(sums, kFiltersPerTile * kPixels, 0.0f);
    // Lanes past the tile's pixels are read by the vector loop: give them a defined value once.
    std::fill_n(panel, kTaps * kPixels, 0.0f);

    for (int64_t first = 0; first < taps; first += kTaps) {
        const int64_t count = std::min(kTaps, taps - first);
        for (int64_t k = 0; k < count; ++k) {
            const int64_t channel = (first + k) / window, tap = (first + k) % window;
            gather_tap(s, x + (tile.image * s.in_channels + channel) * plane, tap / s.kernel_width,
                       tap % s.kernel_width, tile, panel + k * kPixels);
        }
        for (int64_t m = 0; m < tile.filters; m += kFilters)
            accumulate(panel, packed_weights + (tile.first_filter + m) * taps + first * kFilters, count,
                       sums + m * kPixels);
    }
    for (int64_t m = 0; m < tile.filters; ++m) {
        const int64_t filter = tile.first_filter + m;
        const int64_t offset = (tile.image * s.out_channels + filter) * s.out_pixels() + tile.first_pixel;
        finish_filter(sums + m * kPixels, epilogue.scale[filter], epilogue.shift[filter],
                      epilogue.residual ? epilogue.residual + offset : nullptr, epilogue.relu, tile.pixels, y + offset);
    }
}

}  // namespace

AdderConv2dVariant adder_conv2d_variant() { return {kFilters, Vector::kLanes, kPixels, run_tile}; }

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
