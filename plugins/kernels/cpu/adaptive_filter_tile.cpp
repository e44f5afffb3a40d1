// Compiled once per instruction set (see vector.h). For each group of a tile: exponentials of the
// k*k logits at every pixel, then for a block of channels a reflect-padded panel of X, over which
// the weighted sum runs with pixels along the vector. The panel holds the columns of each stride
// phase apart, so that every tap is a plain load at every stride and at the borders. Most 3 x 3
// filters need no panel (adaptive_filter_3x3.h).
//
// The weighted sums are divided by the softmax's sum, not each weight. A joint softmax of so many
// channels that their exponentials do not fit the buffer knows its sum only after the last group:
// then the division is a pass of its own over Y.
#include "kernels/cpu/adaptive_filter_tile.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/adaptive_filter_3x3.h"
#include "kernels/cpu/vector_math.h"

namespace adroit::cpu::ADROIT_INSTRUCTION_SET {
namespace {

constexpr int64_t kLanes = Vector::kLanes;
constexpr int kChannels = 8;  // sums that run side by side
// Pixels of one tap's weights at most; the lanes past the tile's pixels are read by the last vector.
constexpr int64_t kMaxTapFloats = kMaxTilePixels + kLanes;
constexpr int64_t kMaxTaps = kMaxFilterSize * kMaxFilterSize;
// Exponentials that a tile holds: of one group at least, of 8 groups of 3 x 3 with room to spare.
constexpr int64_t kWeightFloats = 96 * kMaxTapFloats;

int64_t round_up(int64_t value) { return (value + kLanes - 1) / kLanes * kLanes; }

// The tile's pixels as runs that are contiguous in a plane of the output, with where each lies in
// the tile's own buffers. Whole rows are one run, so that a narrow map wastes no lanes.
struct Runs {
    int64_t count, length, buffer_step, plane_first, plane_step;
    int64_t buffer_row_step;  // between the tile's rows
    int64_t buffer_floats;    // of all pixels and a vector more

    Runs(const AdaptiveFilterShape& s, const AdaptiveFilterTile& tile) {
        const bool whole_rows = tile.columns == s.out_width();
        count = whole_rows ? 1 : tile.rows;
        length = whole_rows ? tile.rows * tile.columns : tile.columns;
        buffer_step = round_up(length);
        buffer_row_step = whole_rows ? tile.columns : buffer_step;
        plane_first = tile.first_row * s.out_width() + tile.first_column;
        plane_step = s.out_width();
        buffer_floats = count * buffer_step + kLanes;
    }
};

// body(offset in the tile's buffers, offset in a plane, pixels) for each piece of at most `step` pixels.
template <typename Body>
void for_each_piece(const Runs& runs, int64_t step, const Body& body) {
    for (int64_t run = 0; run < runs.count; ++run)
        for (int64_t i = 0; i < runs.length; i += step)
            body(run * runs.buffer_step + i, runs.plane_first + run * runs.plane_step + i,
                 std::min(step, runs.length - i));
}

Vector load_pixels(const float* p, int64_t pixels) {
    return pixels == kLanes ? Vector::load(p) : load_first(p, pixels);
}

void store_pixels(Vector v, float* p, int64_t pixels) { pixels == kLanes ? v.store(p) : store_first(v, p, pixels); }

// Largest of `channels` logits for up to `Vectors` vectors of pixels. Lanes past `pixels` hold anything.
template <int Vectors>
void find_maxima_of_piece(const float* logits, int64_t plane, int64_t channels, int64_t pixels, float* maxima) {
    Vector most[Vectors];
    for (auto& value : most) value = Vector::broadcast(-std::numeric_limits<float>::infinity());
    for (int64_t c = 0; c < channels; ++c, logits += plane)
        for (int v = 0; v < Vectors; ++v)
            most[v] = maximum(most[v], load_pixels(logits + v * kLanes, std::min(kLanes, pixels - v * kLanes)));
    for (int v = 0; v < Vectors; ++v) most[v].store(maxima + v * kLanes);
}

void find_maxima(const Runs& runs, const float* logits, int64_t plane, int64_t channels, float* maxima) {
    // Some vectors at a time: each of many planes is then visited for more than one cache line.
    constexpr int kVectors = 4;
    for_each_piece(runs, kVectors * kLanes, [&](int64_t at, int64_t in_plane, int64_t pixels) {
        if (pixels == kVectors * kLanes)
            return find_maxima_of_piece<kVectors>(logits + in_plane, plane, channels, pixels, maxima + at);
        for (int64_t i = 0; i < pixels; i += kLanes)
            find_maxima_of_piece<1>(logits + in_plane + i, plane, channels, pixels - i, maxima + at + i);
    });
}

// weights[channel][pixel] = e^(logit - maximum), added to sums[pixel].
void exponentials(const Runs& runs, const float* logits, int64_t plane, int64_t channels, const float* maxima,
                  float* weights, float* sums) {
    for_each_piece(runs, kLanes, [&](int64_t at, int64_t in_plane, int64_t pixels) {
        const Vector largest = Vector::load(maxima + at);
        Vector sum = Vector::load(sums + at);
        // Where tiles are whole rows, the next tile's logits follow. Asked for once per cache line.
        const bool new_line = at % 16 == 0;
        for (int64_t c = 0; c < channels; ++c) {
            const float* logit = logits + c * plane + in_plane;
            if (new_line) prefetch(logit + runs.length, 16);
            const Vector weight = exponential_of_negative(load_pixels(logit, pixels) - largest);
            weight.store(weights + c * runs.buffer_floats + at);
            sum = sum + weight;
        }
        sum.store(sums + at);
    });
}

// Turns sums into factors that normalize.
void invert(const Runs& runs, const float* sums, float* factors) {
    for (int64_t i = 0; i < runs.buffer_floats; ++i) factors[i] = 1.0f / sums[i];
}

void scale_output(const Runs& runs, const float* factors, int64_t plane, int64_t channels, float* y) {
    for (int64_t c = 0; c < channels; ++c, y += plane)
        for_each_piece(runs, kLanes, [&](int64_t at, int64_t in_plane, int64_t pixels) {
            const Vector value = load_pixels(y + in_plane, pixels) * Vector::load(factors + at);
            store_pixels(value, y + in_plane, pixels);
        });
}

// How the columns of a padded row that the tile's taps meet lie in the image: the same for all rows.
// A panel row holds, for each of `stride` phases, the columns first + phase + i * stride.
struct PanelColumns {
    int64_t first;       // column of the image, negative in the padding
    int64_t begin, end;  // i in [begin, end) lies inside the image in every phase
    int64_t room;        // floats of a phase
    // The others, at most a radius and a stride on each side: from column `source` of the image.
    struct Single {
        int64_t source, target;
    } singles[2 * (kMaxFilterSize / 2 + 2)];
    int single_count = 0;

    PanelColumns(const AdaptiveFilterShape& s, const AdaptiveFilterTile& tile) {
        const int64_t count = (tile.columns - 1) * s.stride + s.kernel_size;
        first = tile.first_column * s.stride - s.kernel_size / 2;
        begin = first >= 0 ? 0 : (-first + s.stride - 1) / s.stride;
        end = std::max(begin, std::min(count, s.width - first) / s.stride);
        room = panel_phase_floats(s, tile.columns, kLanes);
        for (int64_t i = 0; i < count; ++i)
            if (i / s.stride < begin || i / s.stride >= end)
                singles[single_count++] = {reflect(first + i, s.width), i % s.stride * room + i / s.stride};
    }
};

template <int64_t Stride>
void copy_row(const float* row, const PanelColumns& columns, float* out) {
    const float* in = row + columns.first;
    for (int64_t i = columns.begin; i < columns.end; i += kLanes) {
        const int64_t count = std::min(kLanes, columns.end - i);
        if constexpr (Stride == 1) {
            store_pixels(load_pixels(in + i, count), out + i, count);
        } else {
            const int64_t low = std::min(kLanes, 2 * count);
            const Vector a = load_pixels(in + 2 * i, low), b = load_pixels(in + 2 * i + kLanes, 2 * count - low);
            store_pixels(even_lanes(a, b), out + i, count);
            store_pixels(odd_lanes(a, b), out + columns.room + i, count);
        }
    }
    for (int i = 0; i < columns.single_count; ++i) out[columns.singles[i].target] = row[columns.singles[i].source];
}

// The part of `channels` channels' padded planes that the tile's taps meet. X comes in short pieces
// of many planes, which the processor does not foresee, so the next channels' rows are prefetched here.
void fill_panel(const AdaptiveFilterShape& s, const AdaptiveFilterTile& tile, const PanelColumns& columns,
                const float* x, int64_t channels, float* panel) {
    const int64_t first_row = tile.first_row * s.stride - s.kernel_size / 2, rows = panel_rows(s, tile.rows);
    const int64_t ahead = channels * s.height * s.width;
    for (int64_t c = 0; c < channels; ++c, x += s.height * s.width)
        for (int64_t r = 0; r < rows; ++r, panel += s.stride * columns.room) {
            const float* row = x + reflect(first_row + r, s.height) * s.width;
            prefetch(row + tile.first_column * s.stride + ahead, tile.columns * s.stride);
            s.stride == 1 ? copy_row<1>(row, columns, panel) : copy_row<2>(row, columns, panel);
        }
}

// Where each tap lies in the panel, from a pixel's own place.
void tap_offsets(const AdaptiveFilterShape& s, const AdaptiveFilterTile& tile, int64_t* offsets) {
    const int64_t room = panel_phase_floats(s, tile.columns, kLanes);
    for (int64_t kh = 0; kh < s.kernel_size; ++kh)
        for (int64_t kw = 0; kw < s.kernel_size; ++kw)
            *offsets++ = (kh * s.stride + kw % s.stride) * room + kw / s.stride;
}

struct Panel {
    PanelColumns columns;
    float* values;
    const int64_t* offsets;
    int64_t row_step;      // between rows of output
    int64_t channel_step;  // between channels
};

// y = weighted sums of `Channels` channels for the tile's pixels.
template <int Channels>
void filter_channels(const AdaptiveFilterTile& tile, const Panel& panel, const Weights& weights, float* y,
                     int64_t plane, int64_t out_width) {
    for (int64_t r = 0; r < tile.rows; ++r)
        for (int64_t column = 0; column < tile.columns; column += kLanes) {
            const int64_t at = r * weights.row_step + column;
            const float* x = panel.values + r * panel.row_step + column;
            const float* w = weights.values + at;
            Vector sum[Channels];
            for (auto& value : sum) value = Vector::broadcast(0.0f);
            for (int64_t t = 0; t < weights.taps; ++t, w += weights.tap_step) {
                const Vector weight = Vector::load(w);
                const float* tap = x + panel.offsets[t];
                for (int c = 0; c < Channels; ++c)
                    sum[c] = multiply_add(weight, Vector::load(tap + c * panel.channel_step), sum[c]);
            }
            const Vector factor = Vector::load(weights.factors + at);
            const int64_t pixels = std::min(kLanes, tile.columns - column);
            for (int c = 0; c < Channels; ++c)
                store_pixels(sum[c] * factor, y + c * plane + r * out_width + column, pixels);
        }
}

using FilterChannels = void (*)(const AdaptiveFilterTile&, const Panel&, const Weights&, float*, int64_t, int64_t);

// All channels of one group, in blocks of kChannels, the rest in blocks of 4, 2 and 1.
void filter_group(const AdaptiveFilterShape& s, const AdaptiveFilterTile& tile, const float* x, const Panel& panel,
                  const Weights& weights, float* y) {
    if (fits_3x3(s, tile)) return (s.stride == 1 ? filter_3x3<1> : filter_3x3<2>)(s, tile, weights, x, y);
    const int64_t in_plane = s.height * s.width, out_plane = s.out_height() * s.out_width();

    for (int64_t left = s.channels / s.groups; left > 0;) {
        const int64_t block = left >= kChannels ? kChannels : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        fill_panel(s, tile, panel.columns, x, block, panel.values);
        const FilterChannels filter = block == kChannels ? filter_channels<kChannels>
                                      : block == 4       ? filter_channels<4>
                                      : block == 2       ? filter_channels<2>
                                                         : filter_channels<1>;
        filter(tile, panel, weights, y, out_plane, s.out_width());
        left -= block;
        x += block * in_plane;
        y += block * out_plane;
    }
}

void run_tile(const AdaptiveFilterShape& s, const float* x, const float* logits, float* y,
              const AdaptiveFilterTile& tile) {
    alignas(64) float weights[kWeightFloats], maxima[kMaxTapFloats], sums[kMaxTapFloats], factors[kMaxTapFloats];
    // The last tap of the last vector reads past its channel.
    alignas(64) float values[kChannels * kMaxPanelFloats + kLanes];
    int64_t offsets[kMaxTaps];
    tap_offsets(s, tile, offsets);
    const int64_t row_floats = panel_row_floats(s, tile.columns, kLanes);
    const Panel panel{PanelColumns(s, tile), values, offsets, s.stride * row_floats,
                      panel_rows(s, tile.rows) * row_floats};

    const Runs runs(s, tile);
    const int64_t taps = s.taps(), group_channels = s.channels / s.groups, group_floats = taps * runs.buffer_floats;
    const int64_t in_plane = s.height * s.width, out_plane = s.out_height() * s.out_width();
    const bool joint = s.joint_softmax && s.groups > 1;
    // Groups whose exponentials are held at once: all of a joint softmax if they fit, else one.
    const int64_t held = joint && s.groups * group_floats <= kWeightFloats ? s.groups : 1;
    const bool sum_comes_late = joint && held < s.groups;
    x += tile.image * s.channels * in_plane;
    y += tile.image * s.channels * out_plane + runs.plane_first;
    logits += tile.image * s.groups * taps * out_plane;
    // Lanes past the tile's pixels are read by the vector loops: give them a defined value once.
    for (int64_t c = 1; c <= held * taps; ++c) std::fill_n(weights + c * runs.buffer_floats - kLanes, kLanes, 0.0f);
    std::fill_n(values, kChannels * panel.channel_step + kLanes, 0.0f);
    std::fill_n(sums, runs.buffer_floats, 0.0f);
    std::fill_n(factors, runs.buffer_floats, 1.0f);

    if (joint) find_maxima(runs, logits, out_plane, s.groups * taps, maxima);
    for (int64_t first = 0; first < s.groups; first += held) {
        const float* held_logits = logits + first * taps * out_plane;
        if (!joint) {
            find_maxima(runs, held_logits, out_plane, taps, maxima);
            std::fill_n(sums, runs.buffer_floats, 0.0f);
        }
        exponentials(runs, held_logits, out_plane, held * taps, maxima, weights, sums);
        if (!sum_comes_late) invert(runs, sums, factors);
        for (int64_t group = first; group < first + held; ++group)
            filter_group(
                s, tile, x + group * group_channels * in_plane, panel,
                {weights + (group - first) * group_floats, factors, runs.buffer_floats, runs.buffer_row_step, taps},
                y + group * group_channels * out_plane);
    }
    if (sum_comes_late) {
        invert(runs, sums, factors);
        scale_output(runs, factors, out_plane, s.channels, y - runs.plane_first);
    }
}

}  // namespace

AdaptiveFilterVariant adaptive_filter_variant() { return {kLanes, run_tile}; }

}  // namespace adroit::cpu::ADROIT_INSTRUCTION_SET
