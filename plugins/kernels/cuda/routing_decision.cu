#include "kernels/cuda/device.h"
#include "kernels/cuda/routing_decision.h"
#include "kernels/cuda/set_flag.h"

namespace adroit::cuda {
namespace {

constexpr float kClosedBelow = 1e-4f;
constexpr int kWarps = 8, kThreads = 32 * kWarps;

struct DecisionArguments {
    RoutingDecisionShape shape;
    RoutingDecisionInputs in;
    RoutingDecisionOutputs out;
};

// A sum over the rows of one column of a matrix, in the order that they are added in.
class ColumnSum {
public:
    ADROIT_DEVICE ColumnSum(const float* matrix, int64_t columns, int64_t column)
        : matrix_(matrix), columns_(columns), at_(column) {}
    ADROIT_DEVICE void add(float factor) {
        sum_ += rounded_product(factor, matrix_[at_]);
        at_ += columns_;
    }
    ADROIT_DEVICE float sum() const { return sum_; }

private:
    const float* matrix_;
    int64_t columns_, at_;
    float sum_ = 0.0f;
};

ADROIT_DEVICE bool is_open(const DecisionArguments& a, int64_t sample, int64_t node) {
    const float* gates = a.in.gates + sample * a.shape.paths;
    ColumnSum sum(a.in.belongs, a.shape.nodes, node);
    for (int64_t path = 0; path < a.shape.paths; ++path) sum.add(gates[path]);
    return a.in.live[sample * a.shape.nodes + node] > 0.0f && sum.sum() >= kClosedBelow;
}

ADROIT_DEVICE bool counts(const DecisionArguments& a, int64_t sample, int64_t path) {
    const float* opened = a.out.opened + sample * a.shape.nodes;
    float of_open_node = 0.0f;
    for (int64_t node = 0; node < a.shape.nodes; ++node)
        of_open_node += rounded_product(opened[node], a.in.belongs[path * a.shape.nodes + node]);
    return of_open_node > 0.0f;
}

// Whether a sample's states times a column of the matrix are above 0.
ADROIT_DEVICE bool follows(const DecisionArguments& a, int64_t sample, const float* matrix, int64_t columns,
                           int64_t column) {
    const int64_t paths = a.shape.paths, nodes = a.shape.nodes;
    const float* counted = a.out.counted + sample * paths;
    const float *opened = a.out.opened + sample * nodes, *live = a.in.live + sample * nodes;
    ColumnSum sum(matrix, columns, column);
    for (int64_t path = 0; path < paths; ++path) sum.add(counted[path]);
    for (int64_t node = 0; node < nodes; ++node) sum.add(opened[node]);
    for (int64_t node = 0; node < nodes; ++node) sum.add(1.0f - opened[node]);
    for (int64_t node = 0; node < nodes; ++node) sum.add(live[node]);
    return sum.sum() > 0.0f;
}

// A warp takes every eighth sample, a lane every 32nd column. What a step reads is what the one before wrote.
ADROIT_KERNEL(kThreads, 1)
decision_kernel(const DecisionArguments a) {
    struct Shared {
        bool flags[kWarps][32];
    };
    ADROIT_SHARED(Shared, shared);
    const RoutingDecisionShape& s = a.shape;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    for (int64_t n = warp; n < s.batch; n += kWarps)
        for (int64_t node = lane; node < s.nodes; node += 32)
            a.out.opened[n * s.nodes + node] = is_open(a, n, node) ? 1.0f : 0.0f;
    __syncthreads();
    for (int64_t n = warp; n < s.batch; n += kWarps)
        for (int64_t path = lane; path < s.paths; path += 32)
            a.out.counted[n * s.paths + path] = counts(a, n, path) ? a.in.gates[n * s.paths + path] : 0.0f;
    __syncthreads();
    for (int64_t n = warp; n < s.batch; n += kWarps)
        for (int64_t t = lane; t < s.reached; t += 32)
            a.out.reached[n * s.reached + t] = follows(a, n, a.in.reach, s.reached, t) ? 1.0f : 0.0f;

    for (int64_t first = 0; first < s.flags; first += 32) {
        const int64_t flag = first + lane;
        bool any = false;
        if (flag < s.flags)
            for (int64_t n = warp; n < s.batch && !any; n += kWarps) any = follows(a, n, a.in.shown, s.flags, flag);
        shared.flags[warp][lane] = any;
        __syncthreads();
        if (warp == 0 && flag < s.flags) {
            for (int w = 1; w < kWarps; ++w) any = any || shared.flags[w][lane];
            set_flag(a.out.flags, flag, any);
        }
        __syncthreads();
    }
}

}  // namespace

cudaError_t routing_decision(cudaStream_t stream, const RoutingDecisionShape& shape, const RoutingDecisionInputs& in,
                             const RoutingDecisionOutputs& out) {
    return launch(decision_kernel, 1, kThreads, stream, DecisionArguments{shape, in, out});
}

}  // namespace adroit::cuda
