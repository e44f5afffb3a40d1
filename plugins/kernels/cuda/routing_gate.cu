#include "kernels/cuda/load_if.h"
#include "kernels/cuda/routing_gate.h"
#include "kernels/cuda/routing_gate_plan.h"
#include "kernels/cuda/set_flag.h"

namespace adroit::cuda {
namespace {

template <typename T>
struct HiddenArguments {
    GatePlan plan;
    const T* x;
    const T* w1;
    const float* b1;
    float* sums;  // [image][part][hidden]
};

// X at a lane's positions, `first` and every 32nd after it, one channel after the other. Past the last
// position it is 0.
template <typename T, int Shrink>
class GateInput;

template <typename T>
class GateInput<T, 1> {
public:
    ADROIT_DEVICE GateInput(const GatePlan& plan, const T* image, int64_t first)
        : at_(image + first), step_(plan.x_plane) {
        const int64_t left = plan.positions - first;
        left_ = static_cast<int>(left < kWarpPositions ? left : kWarpPositions);
    }
    ADROIT_DEVICE bool is_inside(int i) const { return 32 * i < left_; }
    ADROIT_DEVICE void load(float (&x)[kThreadPositions]) {
        ADROIT_UNROLL
        for (int i = 0; i < kThreadPositions; ++i)
            x[i] = to_float(load_if(is_inside(i), at_ + 32 * i, from_float<T>(0.0f)));
        at_ += step_;
    }

private:
    const T* at_;
    int64_t step_;
    int left_;
};

// The means of the middle 2 x 2 of each 4 x 4 block.
template <typename T>
class GateInput<T, 4> {
public:
    ADROIT_DEVICE GateInput(const GatePlan& plan, const T* image, int64_t first)
        : step_(plan.x_plane), width_(plan.width) {
        ADROIT_UNROLL
        for (int i = 0; i < kThreadPositions; ++i) {
            const int64_t position = first + 32 * i, row = position / plan.columns;
            inside_[i] = position < plan.positions;
            at_[i] = image + ((4 * row + 1) * plan.width + 4 * (position - row * plan.columns) + 1);
        }
    }
    ADROIT_DEVICE bool is_inside(int i) const { return inside_[i]; }
    ADROIT_DEVICE void load(float (&x)[kThreadPositions]) {
        ADROIT_UNROLL
        for (int i = 0; i < kThreadPositions; ++i) {
            x[i] = 0.25f * ((value(i, 0) + value(i, 1)) + (value(i, width_) + value(i, width_ + 1)));
            at_[i] += step_;
        }
    }

private:
    ADROIT_DEVICE float value(int i, int64_t offset) const {
        return to_float(load_if(inside_[i], at_[i] + offset, from_float<T>(0.0f)));
    }

    const T* at_[kThreadPositions];
    bool inside_[kThreadPositions];
    int64_t step_;
    int width_;
};

// Weights of some channels, transposed so that a lane reads hidden channels in quads; or, when the sums
// are done, the sums of every lane of a warp, one column more a row against conflicts of banks.
template <int Hidden>
union HiddenShared {
    alignas(16) float weights[kGateChannels][kGateWarps * Hidden];
    float sums[kGateWarps][Hidden][33];
};

template <typename T, int Hidden>
ADROIT_DEVICE void put_weights(const HiddenArguments<T>& a, int first_hidden, int first_channel,
                               HiddenShared<Hidden>& shared) {
    const int hidden = a.plan.hidden_warps * Hidden;
    for (int i = static_cast<int>(threadIdx.x); i < hidden * kGateChannels; i += kGateThreads) {
        const int h = i / kGateChannels, c = i % kGateChannels;
        const bool inside = first_hidden + h < a.plan.hidden && first_channel + c < a.plan.channels;
        const T* weight = a.w1 + (int64_t{first_hidden + h} * a.plan.channels + first_channel + c);
        shared.weights[c][h] = to_float(load_if(inside, weight, from_float<T>(0.0f)));
    }
}

// products[h][i] = sum over channels of W1 * X. hidden_warp: which hidden channels of the block.
template <typename T, int Shrink, int Hidden>
ADROIT_DEVICE void multiply(const HiddenArguments<T>& a, GateInput<T, Shrink>& input, int first_hidden, int hidden_warp,
                            HiddenShared<Hidden>& shared, float (&products)[Hidden][kThreadPositions]) {
    // Channels whose loads are under way together; more would not fit in the registers.
    [[maybe_unused]] constexpr int kUnrolled = Shrink == 1 ? 4 : 2;
    for (int first = 0; first < a.plan.channels; first += kGateChannels) {
        __syncthreads();
        put_weights<T, Hidden>(a, first_hidden, first, shared);
        __syncthreads();
        const int count = min(kGateChannels, a.plan.channels - first);
        ADROIT_UNROLL_BY(kUnrolled)
        for (int c = 0; c < count; ++c) {
            float x[kThreadPositions];
            input.load(x);
            ADROIT_UNROLL
            for (int h = 0; h < Hidden; h += 4) {
                const auto w = *reinterpret_cast<const Quad<float>*>(&shared.weights[c][hidden_warp * Hidden + h]);
                ADROIT_UNROLL
                for (int j = 0; j < 4; ++j) ADROIT_UNROLL
                for (int i = 0; i < kThreadPositions; ++i) products[h + j][i] += w.at[j] * x[i];
            }
        }
    }
}

// Blocks of a multiprocessor, which bound the registers of a thread: as many as the compiler has found to
// do without spilling. More have more loads under way.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
constexpr int kHiddenBlocks = 3;
#else
constexpr int kHiddenBlocks = 2;
#endif

// Sums over a part's positions of max(0, W1 X + b1).
template <typename T, int Shrink>
ADROIT_KERNEL(kGateThreads, sizeof(T) == 4 ? kHiddenBlocks : 2)
hidden_kernel(const HiddenArguments<T> a) {
    constexpr int kHidden = gate_hidden(Shrink);
    ADROIT_SHARED(HiddenShared<kHidden>, shared);
    const GatePlan& plan = a.plan;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int hidden_warp = warp % plan.hidden_warps, position_warp = warp / plan.hidden_warps;
    const int64_t part = blockIdx.x / plan.hidden_blocks, image = part / plan.parts;
    const int first_hidden = static_cast<int>(blockIdx.x % plan.hidden_blocks) * plan.hidden_warps * kHidden;
    const int64_t piece = (part - image * plan.parts) * plan.rounds;
    // What this lane has summed up for hidden channel `lane` of its warp, in all rounds.
    float total = 0.0f;

    for (int round = 0; round < plan.rounds; ++round) {
        const int64_t first = (piece + round) * plan.block_positions + position_warp * kWarpPositions + lane;
        GateInput<T, Shrink> input(plan, a.x + image * plan.channels * plan.x_plane, first);
        float products[kHidden][kThreadPositions] = {};
        multiply<T, Shrink, kHidden>(a, input, first_hidden, hidden_warp, shared, products);
        __syncthreads();
        ADROIT_UNROLL
        for (int h = 0; h < kHidden; ++h) {
            const int channel = first_hidden + hidden_warp * kHidden + h;
            const float bias = channel < plan.hidden ? a.b1[channel] : 0.0f;
            float sum = 0.0f;
            ADROIT_UNROLL
            for (int i = 0; i < kThreadPositions; ++i) {
                const float value = products[h][i] + bias;
                // A comparison that is false for NaN keeps NaN, as the frameworks' ReLU does.
                sum += value < 0.0f || !input.is_inside(i) ? 0.0f : value;
            }
            shared.sums[warp][h][lane] = sum;
        }
        __syncthreads();
        if (lane < kHidden)
            for (int i = 0; i < 32; ++i) total += shared.sums[warp][lane][i];
    }

    // The warps that had the same hidden channels at other positions.
    __syncthreads();
    if (lane < kHidden) shared.sums[warp][lane][0] = total;
    __syncthreads();
    const int channel = first_hidden + hidden_warp * kHidden + lane;
    if (position_warp != 0 || lane >= kHidden || channel >= plan.hidden) return;
    for (int w = warp + plan.hidden_warps; w < kGateWarps; w += plan.hidden_warps) total += shared.sums[w][lane][0];
    a.sums[part * plan.hidden + channel] = total;
}

struct GateArguments {
    GatePlan plan;
    RoutingGateParameters parameters;
    const float* sums;
    float* gates;
    Flags open;  // null where another kernel sets them
};

constexpr int kFinishWarps = 8, kFinishThreads = 32 * kFinishWarps;

// One image: the means, and then the second layer. A warp adds up some parts of 32 hidden channels at a
// time; every thread then has its hidden channels' share of all paths' sums.
ADROIT_KERNEL(kFinishThreads, 1)
gate_kernel(const GateArguments a) {
    struct Shared {
        double parts[kFinishWarps][32];
        float means[32];
        float logit;
    };
    ADROIT_SHARED(Shared, shared);
    const GatePlan& plan = a.plan;
    const RoutingGateParameters& p = a.parameters;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int64_t image = blockIdx.x;
    const float* sums = a.sums + image * plan.parts * plan.hidden;
    const float threshold = p.threshold[p.threshold_per_sample ? image : 0];
    for (int path = 0; path < plan.paths; ++path) {
        float logit = p.b2[path];
        for (int first = 0; first < plan.hidden; first += 32) {
            const int channel = first + lane;
            double sum = 0.0;
            if (channel < plan.hidden)
                for (int part = warp; part < plan.parts; part += kFinishWarps)
                    sum += sums[int64_t{part} * plan.hidden + channel];
            shared.parts[warp][lane] = sum;
            __syncthreads();
            if (warp == 0) {
                for (int w = 1; w < kFinishWarps; ++w) sum += shared.parts[w][lane];
                shared.means[lane] = static_cast<float>(sum / static_cast<double>(plan.positions));
            }
            __syncthreads();
            for (int h = 0; h < 32 && first + h < plan.hidden; ++h)
                logit += p.w2[int64_t{path} * plan.hidden + first + h] * shared.means[h];
        }
        if (threadIdx.x != 0) continue;
        const float value = tanhf(logit);
        // A comparison that is false for NaN: a gate that is not a number is closed.
        const bool above = value > fmaxf(threshold, 0.0f);
        a.gates[image * plan.paths + path] = above ? value : 0.0f;
        set_flag(a.open, path, above);
    }
}

struct OpenArguments {
    const float* gates;
    Flags open;
    int64_t batch;
    int paths;
};

// open[p] = any sample's gate p is not 0.
ADROIT_KERNEL(32, 1)
open_kernel(const OpenArguments a) {
    const int path = static_cast<int>(blockIdx.x) * 32 + static_cast<int>(threadIdx.x);
    if (path >= a.paths) return;
    bool open = false;
    for (int64_t n = 0; n < a.batch; ++n) open = open || a.gates[n * a.paths + path] != 0.0f;
    set_flag(a.open, path, open);
}

template <typename T>
cudaError_t sum_hidden(cudaStream_t stream, const RoutingGateShape& shape, const GatePlan& plan, const void* x,
                       const RoutingGateParameters& parameters, float* sums) {
    const HiddenArguments<T> arguments{plan, static_cast<const T*>(x), static_cast<const T*>(parameters.w1),
                                       parameters.b1, sums};
    const int64_t blocks = shape.batch * plan.parts * plan.hidden_blocks;
    return launch(shape.shrink == 1 ? hidden_kernel<T, 1> : hidden_kernel<T, 4>, blocks, kGateThreads, stream,
                  arguments);
}

}  // namespace

size_t routing_gate_workspace(const RoutingGateShape& shape) {
    if (!GatePlan::fits(shape)) return 0;
    return static_cast<size_t>(shape.batch * GatePlan(shape).most_parts * shape.hidden) * sizeof(float);
}

cudaError_t routing_gate(cudaStream_t stream, const RoutingGateShape& shape, DataType type, const void* x,
                         const RoutingGateParameters& parameters, float* gates, Flags open, void* workspace) {
    if (!GatePlan::fits(shape)) return cudaErrorInvalidValue;
    const GatePlan plan(shape);
    float* const sums = static_cast<float*>(workspace);
    const bool one = shape.batch == 1;
    if (const cudaError_t error = type == DataType::kFloat32
                                      ? sum_hidden<float>(stream, shape, plan, x, parameters, sums)
                                      : sum_hidden<__half>(stream, shape, plan, x, parameters, sums))
        return error;
    const GateArguments second{plan, parameters, sums, gates, one ? open : Flags()};
    const cudaError_t error = launch(gate_kernel, shape.batch, kFinishThreads, stream, second);
    if (error || one) return error;
    return launch(open_kernel, divide_up(plan.paths, 32), 32, stream,
                  OpenArguments{gates, open, shape.batch, plan.paths});
}

}  // namespace adroit::cuda
