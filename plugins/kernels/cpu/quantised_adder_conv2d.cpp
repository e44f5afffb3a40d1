#include "kernels/cpu/quantised_adder_conv2d.h"

#include <algorithm>

#include "kernels/cpu/quantised_adder_conv2d_tile.h"

namespace adroit::cpu {
namespace {

QuantisedAdderVariant variant() { return ADROIT_VARIANT(quantised_adder_conv2d_variant); }

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Windows take 4 taps of a row at once, of which a narrower kernel wastes some.
bool fits_windows(const AdderConv2dShape& s) {
    return variant().has_windows && s.stride_width == 1 && (s.kernel_width == 3 || s.kernel_width == 4);
}

// The panel should stay in the second-level cache, whatever the number of channels.
constexpr int64_t kMaxPanelBytes = 192 << 10;
// Filters of a task at most: more tasks for more threads, few enough that packing X is paid for.
constexpr int64_t kFiltersPerTask = 128;

int64_t packed_size(int64_t outputs, int64_t kernel, int64_t stride) { return outputs + (kernel - 1) / stride; }

// Sets what follows from the tile's size.
void size_tile(const AdderConv2dShape& s, int64_t rows, QuantisedAdderPlan& plan) {
    plan.tile_rows = rows;
    plan.packed_rows = packed_size(rows, s.kernel_height, s.stride_height);
    plan.packed_cells = plan.windows ? divide_up(plan.tile_columns, plan.cell_pixels)
                                     : packed_size(plan.tile_columns, s.kernel_width, s.stride_width);
}

// In the order of the packed weights: blocks, kernel rows, kernel columns (which windows have none of).
void set_offsets(const AdderConv2dShape& s, QuantisedAdderPlan& plan) {
    const int64_t columns = plan.windows ? 1 : s.kernel_width;
    for (int64_t block = 0; block < plan.blocks; ++block)
        for (int64_t kh = 0; kh < s.kernel_height; ++kh)
            for (int64_t kw = 0; kw < columns; ++kw) {
                const int64_t phase = (block * plan.phases_down + kh % s.stride_height) * plan.phases_along +
                                      (plan.windows ? 0 : kw % s.stride_width);
                const int64_t cell = kh / s.stride_height * plan.packed_cells + kw / s.stride_width;
                plan.offsets.push_back(phase * plan.plane_bytes() + cell * plan.cell_bytes);
            }
}

QuantisedAdderPlan plan_for(const AdderConv2dShape& s, bool windows) {
    QuantisedAdderPlan plan{};
    plan.windows = windows;
    plan.cell_bytes = windows ? 16 : 8;
    plan.cell_pixels = windows ? 8 : 1;
    plan.blocks = windows ? s.in_channels : divide_up(s.in_channels, 8);
    plan.phases_down = std::min(s.stride_height, s.kernel_height);
    plan.phases_along = windows ? 1 : std::min(s.stride_width, s.kernel_width);
    plan.tile_columns = std::min(s.out_width(), kMaxQuantisedTilePixels / 2);
    size_tile(s, 1, plan);
    // As many rows as caches hold, in equal shares.
    int64_t rows = std::max(int64_t{1}, std::min(s.out_height(), kMaxQuantisedTilePixels / plan.pitch()));
    for (size_tile(s, rows, plan); rows > 1 && plan.panel_bytes() > kMaxPanelBytes;) size_tile(s, --rows, plan);
    size_tile(s, divide_up(s.out_height(), divide_up(s.out_height(), rows)), plan);
    set_offsets(s, plan);
    return plan;
}

// A thread keeps its own from call to call, as large as the largest that it has needed. (Not in the
// tile's source: a template of the standard library compiled there for AVX-512 could be merged into
// code for older CPUs.)
struct Workspace {
    std::vector<uint8_t> panel;
    std::vector<uint32_t> fourth_by_cell;
};

Workspace& workspace_for(const QuantisedAdderPlan& plan) {
    thread_local Workspace workspace;
    const int64_t panel = plan.panel_bytes() + kPanelSlack;
    const int64_t fourth = plan.windows ? plan.phases_down * plan.plane_bytes() / 2 + kPanelSlack : 0;
    workspace.panel.resize(std::max(workspace.panel.size(), static_cast<size_t>(panel)));
    workspace.fourth_by_cell.resize(std::max(workspace.fourth_by_cell.size(), static_cast<size_t>(fourth)));
    return workspace;
}

// The byte of W at a step's place `lane`: a kernel column, or a channel of the group; 0 past the end.
uint8_t packed_weight(const AdderConv2dShape& s, const uint8_t* filter, bool windows, int64_t step, int64_t lane) {
    const int64_t columns = windows ? 1 : s.kernel_width;
    const int64_t kh = step / columns % s.kernel_height, block = step / columns / s.kernel_height;
    const int64_t kw = windows ? lane : step % columns, channel = windows ? block : block * 8 + lane;
    if (kw >= s.kernel_width || channel >= s.in_channels) return 0;
    return filter[(channel * s.kernel_height + kh) * s.kernel_width + kw];
}

}  // namespace

PackedQuantisedWeights pack_quantised_weights(const AdderConv2dShape& shape, const void* weights, bool is_signed) {
    const int64_t block = variant().filter_block;
    const bool windows = fits_windows(shape);
    const int64_t group = windows ? 4 : 8;
    const int64_t steps = windows ? shape.in_channels * shape.kernel_height
                                  : divide_up(shape.in_channels, 8) * shape.kernel_height * shape.kernel_width;
    const int64_t blocks = divide_up(shape.out_channels, block);
    PackedQuantisedWeights packed{std::vector<uint8_t>(blocks * steps * block * group), windows};
    // Signed bytes become unsigned ones with the same differences.
    std::vector<uint8_t> filter(shape.taps());
    for (int64_t m = 0; m < shape.out_channels; ++m) {
        const uint8_t* values = static_cast<const uint8_t*>(weights) + m * shape.taps();
        std::transform(values, values + shape.taps(), filter.begin(),
                       [&](uint8_t w) -> uint8_t { return is_signed ? w ^ 0x80 : w; });
        for (int64_t step = 0; step < steps; ++step)
            for (int64_t lane = 0; lane < group; ++lane)
                packed.values[((m / block * steps + step) * block + m % block) * group + lane] =
                    packed_weight(shape, filter.data(), windows, step, lane);
    }
    return packed;
}

void quantised_adder_conv2d(const AdderConv2dShape& shape, const QuantisedTensor& x,
                            const PackedQuantisedWeights& weights, const QuantisedAdderEpilogue& epilogue, void* y,
                            const ParallelFor& parallel_for) {
    const QuantisedAdderVariant kernel = variant();
    const QuantisedAdderPlan plan = plan_for(shape, weights.windows);
    const QuantisedAdderCall call{shape, plan, x, weights.values.data(), epilogue, y};
    const int64_t down = divide_up(shape.out_height(), plan.tile_rows);
    const int64_t across = divide_up(shape.out_width(), plan.tile_columns);
    const int64_t groups = divide_up(shape.out_channels, kFiltersPerTask);

    parallel_for(shape.batch * down * across * groups, [&](int64_t index) {
        QuantisedAdderTile tile;
        tile.first_filter = index % groups * kFiltersPerTask;
        tile.filters = std::min(kFiltersPerTask, shape.out_channels - tile.first_filter);
        tile.first_column = index / groups % across * plan.tile_columns;
        tile.columns = std::min(plan.tile_columns, shape.out_width() - tile.first_column);
        tile.first_row = index / groups / across % down * plan.tile_rows;
        tile.rows = std::min(plan.tile_rows, shape.out_height() - tile.first_row);
        tile.image = index / groups / across / down;
        Workspace& workspace = workspace_for(plan);
        kernel.run_tile(call, tile, workspace.panel.data(), workspace.fourth_by_cell.data());
    });
}

}  // namespace adroit::cpu
