#include "kernels/cpu/adder_conv2d.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/cpu/adder_conv2d_tile.h"

namespace adroit::cpu {
namespace {

AdderConv2dVariant variant() { return ADROIT_VARIANT(adder_conv2d_variant); }

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

AdderConv2dPlan plan_for(const AdderConv2dShape& s) {
    AdderConv2dPlan plan{};
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

// A kernel of one pixel sees no rows: X becomes one long row, which wastes no part of a vector.
AdderConv2dShape without_rows(AdderConv2dShape s) {
    const bool moves = s.stride_height != 1 || s.stride_width != 1;
    const bool padded = s.pad_top != 0 || s.pad_left != 0 || s.pad_bottom != 0 || s.pad_right != 0;
    if (s.kernel_height != 1 || s.kernel_width != 1 || moves || padded) return s;
    s.width *= s.height;
    s.height = 1;
    return s;
}

// A thread keeps its own from call to call, as large as the largest that it has needed.
struct Workspace {
    std::vector<float> values, channel_sums, sums;
    AdderConv2dPanel panel;
    // The tile that it holds; calls are counted from 1.
    uint64_t call = 0;
    int64_t tile = 0;
};

void make_room(const AdderConv2dShape& s, const AdderConv2dPlan& plan, Workspace& workspace) {
    const auto enlarge = [](std::vector<float>& buffer, int64_t floats) {
        buffer.resize(std::max(buffer.size(), static_cast<size_t>(floats + kAdderSlack)));
        return buffer.data();
    };
    workspace.panel.values = enlarge(workspace.values, s.in_channels * plan.channel_floats);
    workspace.panel.channel_sums = enlarge(workspace.channel_sums, plan.channel_floats);
    workspace.panel.sums = enlarge(workspace.sums, kMaxAdderRun);
}

}  // namespace

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

void adder_conv2d(const AdderConv2dShape& given, const float* x, const PackedAdderWeights& weights,
                  const AdderConv2dEpilogue& epilogue, float* y, const ParallelFor& parallel_for) {
    const AdderConv2dShape shape = without_rows(given);
    const AdderConv2dVariant kernel = variant();
    const AdderConv2dPlan plan = plan_for(shape);
    const AdderConv2dCall call{shape, plan, x, weights, epilogue, y};
    const int64_t down = divide_up(shape.out_height(), plan.tile_rows);
    const int64_t across = divide_up(shape.out_width(), plan.tile_columns);
    const int64_t groups = divide_up(shape.out_channels, kFiltersPerTask);
    static std::atomic<uint64_t> calls{0};
    const uint64_t this_call = ++calls;

    const double microseconds =
        shape.batch * shape.out_channels * shape.out_pixels() * shape.taps() / kTapsPerMicrosecond;

    parallel_for(shape.batch * down * across * groups, microseconds, [&](int64_t index) {
        AdderConv2dTile tile;
        tile.first_filter = index % groups * kFiltersPerTask;
        tile.filters = std::min(kFiltersPerTask, shape.out_channels - tile.first_filter);
        tile.first_column = index / groups % across * plan.tile_columns;
        tile.columns = std::min(plan.tile_columns, shape.out_width() - tile.first_column);
        tile.first_row = index / groups / across % down * plan.tile_rows;
        tile.rows = std::min(plan.tile_rows, shape.out_height() - tile.first_row);
        tile.image = index / groups / across / down;

        thread_local Workspace workspace;
        make_room(shape, plan, workspace);
        if (workspace.call != this_call || workspace.tile != index / groups) {
            kernel.pack_tile(call, tile, workspace.panel);
            workspace.call = this_call;
            workspace.tile = index / groups;
        }
        kernel.run_tile(call, tile, workspace.panel);
    });
}

}  // namespace adroit::cpu
