#include "kernels/cuda/adaptive_filter.h"
#include "kernels/cuda/adaptive_filter_plan.h"

namespace adroit::cuda {
namespace {

template <typename T>
struct FilterArguments {
    FilterPlan plan;
    const T* x;
    const T* logits;
    T* y;
};

// The softmax of some logits, as far as they are seen: their largest, and the sum of e^(logit - largest).
struct Softmax {
    float largest, sum;
};

ADROIT_DEVICE Softmax no_softmax() { return {-INFINITY, 0.0f}; }

// What e^logit is measured against: -inf would make NaN of a part whose logits are all -inf.
ADROIT_DEVICE float finite(float largest) { return largest == -INFINITY ? 0.0f : largest; }

ADROIT_DEVICE Softmax together(const Softmax& a, const Softmax& b) {
    const float largest = fmaxf(a.largest, b.largest), base = finite(largest);
    return {largest, a.sum * expf(a.largest - base) + b.sum * expf(b.largest - base)};
}

// What a part's e^(logit - its largest) are multiplied by to be weights of the whole.
ADROIT_DEVICE float share(const Softmax& part, const Softmax& whole) {
    return (part.largest == -INFINITY ? 0.0f : expf(part.largest - whole.largest)) / whole.sum;
}

// A strip's place. Rows past the last are computed like the last, and not written.
template <int Rows>
struct Strip {
    int first_row, column, rows;

    ADROIT_DEVICE Strip(const FilterPlan& plan, int strip) {
        first_row = strip / plan.out_width * Rows;
        column = strip % plan.out_width;
        rows = min(Rows, plan.out_height - first_row);
    }
    ADROIT_DEVICE int row(int i) const { return first_row + min(i, rows - 1); }
};

// The weights of one group at the pixels of a strip, before they are normalized.
template <int Size, int Rows>
struct StripWeights {
    float at[Rows][Size * Size];
    Softmax softmax[Rows];

    template <typename T>
    ADROIT_DEVICE void load(const FilterPlan& plan, const Strip<Rows>& strip, const T* logits) {
        const int64_t plane = int64_t{plan.out_height} * plan.out_width;
        ADROIT_UNROLL
        for (int r = 0; r < Rows; ++r) {
            const T* pixel = logits + int64_t{strip.row(r)} * plan.out_width + strip.column;
            ADROIT_UNROLL
            for (int t = 0; t < Size * Size; ++t) at[r][t] = to_float(pixel[t * plane]);
        }
        ADROIT_UNROLL
        for (int r = 0; r < Rows; ++r) {
            softmax[r] = no_softmax();
            ADROIT_UNROLL
            for (int t = 0; t < Size * Size; ++t) softmax[r].largest = fmaxf(softmax[r].largest, at[r][t]);
            ADROIT_UNROLL
            for (int t = 0; t < Size * Size; ++t) {
                at[r][t] = expf(at[r][t] - finite(softmax[r].largest));
                softmax[r].sum += at[r][t];
            }
        }
    }
};

// The weighted sums of `channels` channels. x, y: the first one's planes; factors normalize the weights.
template <typename T, int Size, int Stride, int Rows>
ADROIT_DEVICE void filter_channels(const FilterPlan& plan, const Strip<Rows>& strip,
                                   const StripWeights<Size, Rows>& weights, const float (&factors)[Rows], int channels,
                                   const T* x, T* y) {
    constexpr int kInputRows = (Rows - 1) * Stride + Size;
    const int64_t x_plane = int64_t{plan.height} * plan.width, y_plane = int64_t{plan.out_height} * plan.out_width;
    // Places in a plane, in 32 bits: a pointer to every tap would take twice the registers.
    int rows[kInputRows], columns[Size];
    ADROIT_UNROLL
    for (int i = 0; i < kInputRows; ++i) {
        // A row that only missing rows of output would read may lie far outside: any row will do.
        const int row = min(strip.first_row * Stride + i - Size / 2, plan.height - 1 + Size / 2);
        rows[i] = reflected(row, plan.height) * plan.width;
    }
    ADROIT_UNROLL
    for (int i = 0; i < Size; ++i) columns[i] = reflected(strip.column * Stride + i - Size / 2, plan.width);
    T* out = y + int64_t{strip.first_row} * plan.out_width + strip.column;

    for (int c = 0; c < channels; ++c) {
        float sums[Rows] = {};
        ADROIT_UNROLL
        for (int i = 0; i < kInputRows; ++i) {
            float taps[Size];
            ADROIT_UNROLL
            for (int j = 0; j < Size; ++j) taps[j] = to_float(x[rows[i] + columns[j]]);
            ADROIT_UNROLL
            for (int r = 0; r < Rows; ++r) {
                const int window_row = i - r * Stride;
                if (window_row < 0 || window_row >= Size) continue;
                ADROIT_UNROLL
                for (int j = 0; j < Size; ++j) sums[r] += weights.at[r][window_row * Size + j] * taps[j];
            }
        }
        ADROIT_UNROLL
        for (int r = 0; r < Rows; ++r)
            if (r < strip.rows) out[int64_t{r} * plan.out_width] = from_float<T>(sums[r] * factors[r]);
        x += x_plane;
        out += y_plane;
    }
}

// Softmaxes at the pixels of the lanes' strips.
template <int Rows>
struct SharedSoftmax {
    Softmax of_warp[kFilterWarps][Rows][32];
    Softmax joint[Rows][32];
};

// shared.joint = the softmax over all groups, from the parts that the warps have seen. `weights` holds the
// last group that this warp looked at; the result is that group's index.
template <typename T, int Size, int Rows>
ADROIT_DEVICE int join_groups(const FilterPlan& plan, const Strip<Rows>& strip, int warp, int lane, const T* logits,
                              int64_t group_logits, StripWeights<Size, Rows>& weights, SharedSoftmax<Rows>& shared) {
    int held = -1;
    Softmax seen[Rows];
    ADROIT_UNROLL
    for (int r = 0; r < Rows; ++r) seen[r] = no_softmax();
    for (int group = warp; group < plan.groups; group += kFilterWarps) {
        weights.load(plan, strip, logits + group * group_logits);
        held = group;
        ADROIT_UNROLL
        for (int r = 0; r < Rows; ++r) seen[r] = together(seen[r], weights.softmax[r]);
    }
    ADROIT_UNROLL
    for (int r = 0; r < Rows; ++r) shared.of_warp[warp][r][lane] = seen[r];
    __syncthreads();
    if (warp < Rows) {
        Softmax joint = shared.of_warp[0][warp][lane];
        for (int w = 1; w < kFilterWarps; ++w) joint = together(joint, shared.of_warp[w][warp][lane]);
        shared.joint[warp][lane] = joint;
    }
    __syncthreads();
    return held;
}

template <typename T, int Size, int Stride>
ADROIT_KERNEL(kFilterThreads, Size == 3 ? 2 : 1)
filter_kernel(const FilterArguments<T> a) {
    constexpr int kRows = filter_strip_rows(Size);
    ADROIT_SHARED(SharedSoftmax<kRows>, shared);
    const FilterPlan& plan = a.plan;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int item_block = static_cast<int>(blockIdx.x % plan.item_blocks);
    const int64_t run = blockIdx.x / plan.item_blocks, image = run / plan.strip_blocks;
    const int number = static_cast<int>(run - image * plan.strip_blocks) * 32 + lane;
    // Lanes past the last strip compute it once more and write nothing.
    Strip<kRows> strip(plan, min(number, plan.strips - 1));

    const int64_t x_plane = int64_t{plan.height} * plan.width, y_plane = int64_t{plan.out_height} * plan.out_width;
    const int64_t group_logits = Size * Size * y_plane, channels = int64_t{plan.groups} * plan.group_channels;
    const T* logits = a.logits + image * plan.groups * group_logits;
    StripWeights<Size, kRows> weights;
    int held = -1;
    if (plan.joint_softmax)
        held = join_groups<T, Size, kRows>(plan, strip, warp, lane, logits, group_logits, weights, shared);

    const int items = plan.groups * plan.group_items, step = plan.item_blocks * kFilterWarps;
    for (int item = item_block * kFilterWarps + warp; item < items; item += step) {
        const int group = item % plan.groups, first = item / plan.groups * plan.item_channels;
        if (group != held) weights.load(plan, strip, logits + group * group_logits);
        held = group;
        float factors[kRows];
        ADROIT_UNROLL
        for (int r = 0; r < kRows; ++r) {
            factors[r] =
                plan.joint_softmax ? share(weights.softmax[r], shared.joint[r][lane]) : 1.0f / weights.softmax[r].sum;
        }
        if (number >= plan.strips) continue;
        const int64_t channel = image * channels + int64_t{group} * plan.group_channels + first;
        filter_channels<T, Size, Stride, kRows>(plan, strip, weights, factors,
                                                min(plan.item_channels, plan.group_channels - first),
                                                a.x + channel * x_plane, a.y + channel * y_plane);
    }
}

template <typename T>
cudaError_t run(cudaStream_t stream, const AdaptiveFilterShape& shape, const void* x, const void* logits, void* y) {
    int count = 0;
    if (const cudaError_t error = multiprocessors(&count)) return error;
    const FilterPlan plan(shape, count);
    const FilterArguments<T> arguments{plan, static_cast<const T*>(x), static_cast<const T*>(logits),
                                       static_cast<T*>(y)};
    constexpr void (*kernels[3][2])(FilterArguments<T>) = {
        {filter_kernel<T, 3, 1>, filter_kernel<T, 3, 2>},
        {filter_kernel<T, 5, 1>, filter_kernel<T, 5, 2>},
        {filter_kernel<T, 7, 1>, filter_kernel<T, 7, 2>},
    };
    const int64_t blocks = shape.batch * plan.strip_blocks * plan.item_blocks;
    return launch(kernels[shape.kernel_size / 2 - 1][shape.stride - 1], blocks, kFilterThreads, stream, arguments);
}

}  // namespace

cudaError_t adaptive_filter(cudaStream_t stream, const AdaptiveFilterShape& shape, DataType type, const void* x,
                            const void* logits, void* y) {
    if (!FilterPlan::fits(shape)) return cudaErrorInvalidValue;
    return type == DataType::kFloat32 ? run<float>(stream, shape, x, logits, y)
                                      : run<__half>(stream, shape, x, logits, y);
}

}  // namespace adroit::cuda
