#include "kernels/cpu/adder_conv2d.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/cpu/adder_conv2d_tile.h"
#include "kernels/cpu/adder_tiling.h"
#include "kernels/cpu/workspace.h"

namespace adroit::cpu {
namespace {

AdderConv2dVariant variant() { return ADROIT_VARIANT(adder_conv2d_variant); }

// The panel should stay in the second-level cache beside a block of weights.
constexpr int64_t kMaxPanelFloats = 64 << 10;
// Taps in a microsecond of one thread: rather fewer than the fastest CPUs do.
constexpr double kTapsPerMicrosecond = 50e3;
// Filters of a task. A tile's tasks follow each other, and a thread packs X once for those it gets.
constexpr int64_t kFiltersPerTask = 64;

// Sets what follows from the tile's rows and columns.
void size_tile(const AdderConv2dShape& s, int64_t rows, AdderConv2dPlan& plan) {
    plan.tile_rows = rows;
    plan.packed_rows = rows + (s.kernel_height - 1) / s.stride_height;
    plan.pitch = plan.tile_columns + (s.kernel_width - 1) / s.stride_width;
    // Rows may share their padding: what is right of one is left of the next.
    if (s.stride_width == 1 && plan.tile_columns == s.out_width()) plan.pitch -= std::min(s.pad_left, s.pad_right);
    plan.phase_floats = divide_up(plan.packed_rows * plan.pitch + s.kernel_width, 16) * 16;
    plan.channel_floats = plan.phases_down * plan.phases_along * plan.phase_floats;
}

// How large the sum of maxima may be, against that of differences. Rounding errors of a running sum of n terms
// have the root mean square n^1.5 / 3 round-offs of a term; here n terms are closed, then all K / n closed sums
// are added, and the result is doubled. Five times that may use 0.6 of the limit of deploy/parity/tolerance.py,
// which is 4 K^1.5 round-offs of a difference.
float least_share(int64_t taps, int64_t closed) {
    const double k = static_cast<double>(taps), n = static_cast<double>(closed);
    const double inner = n / (6.0 * k), outer = 1.0 / (6.0 * std::sqrt(n));
    return static_cast<float>(5.0 / 0.6 * std::sqrt(inner * inner + outer * outer));
}

// Each thread has its own.
struct Workspace {
    Buffer<float> values, channel_sums, sums;
    AdderConv2dPanel panel;
    // The tile that it holds; calls are counted from 1.
    uint64_t call = 0;
    int64_t tile = 0;
};

void make_room(const AdderConv2dPlan& plan, Workspace& workspace) {
    const int64_t floats = plan.computed.in_channels * plan.channel_floats;
    workspace.panel.values = workspace.values.of_size(floats + kAdderSlack);
    workspace.panel.channel_sums = workspace.channel_sums.of_size(plan.channel_floats + kAdderSlack);
    workspace.panel.sums = workspace.sums.of_size(kMaxAdderRun + kAdderSlack);
}

}  // namespace

AdderConv2dPlan plan_adder_conv2d(const AdderConv2dShape& shape) {
    AdderConv2dPlan plan{};
    plan.shape = shape;
    plan.computed = without_rows(shape);
    const AdderConv2dShape& s = plan.computed;
    plan.phases_down = std::min(s.stride_height, s.kernel_height);
    plan.phases_along = std::min(s.stride_width, s.kernel_width);
    // In equal shares.
    plan.tile_columns = divide_up(s.out_width(), divide_up(s.out_width(), kMaxAdderRun));
    size_tile(s, 1, plan);
    int64_t rows = std::max(int64_t{1}, std::min(s.out_height(), kMaxAdderRun / plan.pitch));
    for (size_tile(s, rows, plan); rows > 1 && s.in_channels * plan.channel_floats > kMaxPanelFloats;)
        size_tile(s, --rows, plan);
    size_tile(s, divide_up(s.out_height(), divide_up(s.out_height(), rows)), plan);

    for (int64_t kh = 0; kh < s.kernel_height; ++kh)
        for (int64_t kw = 0; kw < s.kernel_width; ++kw) {
            const int64_t phase = kh % s.stride_height * plan.phases_along + kw % s.stride_width;
            plan.window.push_back(phase * plan.phase_floats + kh / s.stride_height * plan.pitch + kw / s.stride_width);
        }
    // An eighth of the taps, 16 to 64 of them.
    const int64_t window = s.kernel_height * s.kernel_width;
    plan.channels_per_pass = std::max(int64_t{1}, std::clamp(s.taps() / 8, int64_t{16}, int64_t{64}) / window);
    plan.least_share = least_share(s.taps(), std::min(s.taps(), plan.channels_per_pass * window));
    return plan;
}

PackedAdderWeights pack_adder_weights(const float* weights, int64_t out_channels, int64_t taps) {
    const int64_t block = variant().filter_block, filters = divide_up(out_channels, block) * block;
    PackedAdderWeights packed{std::vector<float>(filters * taps), std::vector<float>(filters), out_channels, taps};
    for (int64_t m = 0; m < out_channels; ++m) {
        double sum = 0.0;
        for (int64_t k = 0; k < taps; ++k) {
            const float w = weights[m * taps + k];
            packed.values[(m / block) * block * taps + k * block + m % block] = w;
            sum += w;
        }
        packed.sums[m] = static_cast<float>(sum);
    }
    return packed;
}

void adder_conv2d(const AdderConv2dPlan& plan, const float* x, const PackedAdderWeights& weights,
                  const AdderConv2dEpilogue& epilogue, float* y, const ParallelFor& parallel_for) {
    const AdderConv2dShape& shape = plan.computed;
    const AdderConv2dVariant kernel = variant();
    const AdderConv2dCall call{shape, plan, x, weights, epilogue, y};
    const AdderTiling tiling(shape, plan.tile_rows, plan.tile_columns, kFiltersPerTask);
    static std::atomic<uint64_t> calls{0};
    const uint64_t this_call = ++calls;

    parallel_for(tiling.tasks(), tiling.microseconds(kTapsPerMicrosecond), [&](int64_t task) {
        const AdderTile tile = tiling.at(task);
        thread_local Workspace workspace;
        make_room(plan, workspace);
        if (workspace.call != this_call || workspace.tile != tiling.tile_of(task)) {
            kernel.pack_tile(call, tile, workspace.panel);
            workspace.call = this_call;
            workspace.tile = tiling.tile_of(task);
        }
        kernel.run_tile(call, tile, workspace.panel);
    });
}

}  // namespace adroit::cpu
