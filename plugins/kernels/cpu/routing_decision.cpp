#include "kernels/cpu/routing_decision.h"

#include <algorithm>
#include <vector>

namespace adroit::cpu {
namespace {

constexpr float kClosedBelow = 1e-4f;

float dot_column(const float* row, const float* matrix, int64_t rows, int64_t columns, int64_t column) {
    float sum = 0.0f;
    for (int64_t r = 0; r < rows; ++r) sum += row[r] * matrix[r * columns + column];
    return sum;
}

// One sample; `states` is its row of states.
void decide_sample(const RoutingDecisionShape& s, const float* gates, const float* live, const float* belongs,
                   float* states) {
    float *opened = states + s.paths, *closed = opened + s.nodes, *alive = closed + s.nodes;
    for (int64_t node = 0; node < s.nodes; ++node) {
        const float sum = dot_column(gates, belongs, s.paths, s.nodes, node);
        opened[node] = live[node] > 0.0f && sum >= kClosedBelow ? 1.0f : 0.0f;
        closed[node] = 1.0f - opened[node];
        alive[node] = live[node];
    }
    for (int64_t path = 0; path < s.paths; ++path) {
        float of_open_node = 0.0f;
        for (int64_t node = 0; node < s.nodes; ++node) of_open_node += opened[node] * belongs[path * s.nodes + node];
        states[path] = of_open_node > 0.0f ? gates[path] : 0.0f;
    }
}

}  // namespace

void routing_decision(const RoutingDecisionShape& s, const RoutingDecisionInputs& in,
                      const RoutingDecisionOutputs& out) {
    std::vector<float> states(s.states());
    std::fill_n(out.flags, s.flags, false);
    for (int64_t n = 0; n < s.batch; ++n) {
        decide_sample(s, in.gates + n * s.paths, in.live + n * s.nodes, in.belongs, states.data());
        std::copy_n(states.data(), s.paths, out.counted + n * s.paths);
        std::copy_n(states.data() + s.paths, s.nodes, out.opened + n * s.nodes);
        for (int64_t t = 0; t < s.reached; ++t)
            out.reached[n * s.reached + t] =
                dot_column(states.data(), in.reach, s.states(), s.reached, t) > 0.0f ? 1.0f : 0.0f;
        for (int64_t f = 0; f < s.flags; ++f)
            out.flags[f] = out.flags[f] || dot_column(states.data(), in.shown, s.states(), s.flags, f) > 0.0f;
    }
}

}  // namespace adroit::cpu
