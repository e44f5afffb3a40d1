#include "kernels/cpu/quantized_adder_conv2d.h"

#include <algorithm>
#include <atomic>

#include "kernels/cpu/adder_tiling.h"
#include "kernels/cpu/quantized_adder_conv2d_tile.h"
#include "kernels/cpu/workspace.h"

namespace adroit::cpu {
namespace {

QuantizedAdderVariant variant() { return ADROIT_VARIANT(quantized_adder_conv2d_variant); }

// Windows take 4 taps of a row at once, of which a narrower kernel wastes some.
bool takes_windows(const AdderConv2dShape& s, QuantizedStep step) {
    const QuantizedAdderVariant kernel = variant();
    const bool fits = s.stride_width == 1 && (s.kernel_width == 3 || s.kernel_width == 4);
    if (!kernel.has_windows || !fits || step == QuantizedStep::channels) return false;
    return kernel.windows_are_fast || step == QuantizedStep::windows;
}

// The panel should stay in the second-level cache, whatever the number of channels.
constexpr int64_t kMaxPanelBytes = 192 << 10;
// Taps in a microsecond of one thread: rather fewer than the fastest CPUs do.
constexpr double kTapsPerMicrosecond = 200e3;
// Filters of a task at most. A tile's tasks follow each other, and a thread packs X once for those it gets.
constexpr int64_t kFiltersPerTask = 32;

int64_t packed_size(int64_t outputs, int64_t kernel, int64_t stride) { return outputs + (kernel - 1) / stride; }

// Sets what follows from the tile's size.
void size_tile(const AdderConv2dShape& s, int64_t rows, QuantizedAdderPlan& plan) {
    plan.tile_rows = rows;
    plan.packed_rows = packed_size(rows, s.kernel_height, s.stride_height);
    plan.packed_cells = plan.windows ? divide_up(plan.tile_columns, plan.cell_pixels)
                                     : packed_size(plan.tile_columns, s.kernel_width, s.stride_width);
}

// In the order of the packed weights: blocks, kernel rows, kernel columns (which windows have none of).
void set_offsets(const AdderConv2dShape& s, QuantizedAdderPlan& plan) {
    const int64_t columns = plan.windows ? 1 : s.kernel_width, window = s.kernel_height * columns;
    plan.offsets.resize(plan.blocks * window);
    for (int64_t kh = 0; kh < s.kernel_height; ++kh)
        for (int64_t kw = 0; kw < columns; ++kw) {
            const int64_t phase = kh % s.stride_height * plan.phases_along + (plan.windows ? 0 : kw % s.stride_width);
            const int64_t cell = kh / s.stride_height * plan.packed_cells + kw / s.stride_width;
            plan.offsets[kh * columns + kw] = phase * plan.plane_bytes() + cell * plan.cell_bytes;
        }
    const int64_t block_bytes = plan.phases_down * plan.phases_along * plan.plane_bytes();
    for (int64_t step = window; step < plan.steps(); ++step)
        plan.offsets[step] = plan.offsets[step - window] + block_bytes;
}

// Each thread has its own. (Not in the tile's source: a template of the standard library compiled there for AVX-512
// could be merged into code for older CPUs.)
struct Workspace {
    Buffer<uint8_t> cells;
    Buffer<uint32_t> fourth_by_cell;
    alignas(64) uint32_t initial[kTileRun];
    // The tile that it holds; calls are counted from 1.
    uint64_t call = 0;
    int64_t tile = 0;
};

QuantizedAdderPanel make_room(const QuantizedAdderPlan& plan, Workspace& workspace) {
    const int64_t cells = plan.panel_bytes() + kPanelSlack;
    const int64_t fourth = plan.windows ? plan.phases_down * plan.plane_bytes() / 2 + kPanelSlack : 0;
    return {workspace.cells.of_size(cells), workspace.fourth_by_cell.of_size(fourth), workspace.initial};
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

QuantizedAdderPlan plan_quantized_adder_conv2d(const AdderConv2dShape& shape, bool windows) {
    QuantizedAdderPlan plan{};
    plan.shape = shape;
    plan.computed = without_rows(shape);
    const AdderConv2dShape& s = plan.computed;
    plan.windows = windows;
    plan.cell_bytes = windows ? 16 : 8;
    plan.cell_pixels = windows ? 8 : 1;
    plan.blocks = windows ? s.in_channels : divide_up(s.in_channels, 8);
    plan.phases_down = std::min(s.stride_height, s.kernel_height);
    plan.phases_along = windows ? 1 : std::min(s.stride_width, s.kernel_width);
    // Equal shares of whole cells.
    const int64_t across = divide_up(s.out_width(), kMaxQuantizedTilePixels);
    plan.tile_columns = divide_up(divide_up(s.out_width(), across), plan.cell_pixels) * plan.cell_pixels;
    size_tile(s, 1, plan);
    // As many rows as caches hold, in equal shares.
    int64_t rows = std::max(int64_t{1}, std::min(s.out_height(), kMaxQuantizedTilePixels / plan.pitch()));
    for (size_tile(s, rows, plan); rows > 1 && plan.panel_bytes() > kMaxPanelBytes;) size_tile(s, --rows, plan);
    size_tile(s, divide_up(s.out_height(), divide_up(s.out_height(), rows)), plan);
    set_offsets(s, plan);
    return plan;
}

PackedQuantizedWeights pack_quantized_weights(const AdderConv2dShape& shape, const void* weights, bool is_signed,
                                              QuantizedStep step) {
    const int64_t block = variant().filter_block;
    const bool windows = takes_windows(shape, step);
    const int64_t group = windows ? 4 : 8;
    const int64_t steps = windows ? shape.in_channels * shape.kernel_height
                                  : divide_up(shape.in_channels, 8) * shape.kernel_height * shape.kernel_width;
    const int64_t blocks = divide_up(shape.out_channels, block);
    PackedQuantizedWeights packed{std::vector<uint8_t>(blocks * steps * block * group), windows};
    // Signed bytes become unsigned ones with the same differences.
    std::vector<uint8_t> filter(shape.taps());
    for (int64_t m = 0; m < shape.out_channels; ++m) {
        const uint8_t* values = static_cast<const uint8_t*>(weights) + m * shape.taps();
        std::transform(values, values + shape.taps(), filter.begin(),
                       [&](uint8_t w) -> uint8_t { return is_signed ? w ^ 0x80 : w; });
        for (int64_t i = 0; i < steps; ++i)
            for (int64_t lane = 0; lane < group; ++lane)
                packed.values[((m / block * steps + i) * block + m % block) * group + lane] =
                    packed_weight(shape, filter.data(), windows, i, lane);
    }
    return packed;
}

void quantized_adder_conv2d(const QuantizedAdderPlan& plan, const QuantizedTensor& x,
                            const PackedQuantizedWeights& weights, const QuantizedAdderEpilogue& epilogue, void* y,
                            const ParallelFor& parallel_for) {
    const AdderConv2dShape& shape = plan.computed;
    const QuantizedAdderVariant kernel = variant();
    const QuantizedAdderCall call{shape, plan, x, weights.values.data(), epilogue, y};
    const AdderTiling tiling(shape, plan.tile_rows, plan.tile_columns, kFiltersPerTask);
    static std::atomic<uint64_t> calls{0};
    const uint64_t this_call = ++calls;

    parallel_for(tiling.tasks(), tiling.microseconds(kTapsPerMicrosecond), [&](int64_t task) {
        const AdderTile tile = tiling.at(task);
        thread_local Workspace workspace;
        const QuantizedAdderPanel panel = make_room(plan, workspace);
        if (workspace.call != this_call || workspace.tile != tiling.tile_of(task)) {
            kernel.pack_tile(call, tile, panel);
            workspace.call = this_call;
            workspace.tile = tiling.tile_of(task);
        }
        kernel.run_tile(call, tile, panel);
    });
}

}  // namespace adroit::cpu
