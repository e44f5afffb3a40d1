#include <memory>

#include "kernel_tests.h"

namespace adroit::tests {
namespace {

// Most as in a network; a few of no sample, of many, and of more columns than a warp has lanes.
RoutingDecisionShape random_shape() {
    const int64_t batch = pick(0, 9) ? pick(1, 12) : pick(0, 1) * pick(100, 300);
    if (pick(0, 9) == 0) return {pick(1, 10), pick(1, 70), pick(1, 70), pick(1, 70), pick(1, 70)};
    return {batch, pick(1, 12), pick(1, 4), pick(1, 6), pick(1, 45)};
}

template <typename Draw>
std::vector<float> drawn(int64_t count, const Draw& draw) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = draw();
    return values;
}

// Gates, of which some together stay below the 1e-4 that a node opens at, in multiples of 2^-15: every sum of
// them is exact. Or gates just at that limit and just below it, which are not added to others.
float random_gate(bool at_limit) {
    if (pick(0, 2) == 0) return 0.0f;
    if (at_limit) return pick(0, 1) ? 1e-4f : std::nextafter(1e-4f, 0.0f);
    return static_cast<float>(pick(0, 1) ? pick(1, 3) : pick(1, 1 << 15)) / (1 << 15);
}

struct Decision {
    RoutingDecisionShape shape;
    std::vector<int64_t> owner;  // the node of each path
    std::vector<float> gates, live, belongs, reach, shown;
};

Decision random_decision() {
    Decision d{random_shape(), {}, {}, {}, {}, {}, {}};
    RoutingDecisionShape& s = d.shape;
    const bool at_limit = pick(0, 3) == 0;
    if (at_limit) s.nodes = s.paths;
    d.belongs.resize(static_cast<size_t>(s.paths * s.nodes));
    for (int64_t path = 0; path < s.paths; ++path) {
        d.owner.push_back(at_limit ? path : pick(0, s.nodes - 1));
        d.belongs[path * s.nodes + d.owner.back()] = 1.0f;
    }
    d.gates = drawn(s.batch * s.paths, [&] { return random_gate(at_limit); });
    d.live = drawn(s.batch * s.nodes, [] { return static_cast<float>(pick(-1, 4)) / 2; });
    // Few of a column's weights are not 0, or no flag would ever stay false.
    const auto weight = [&] { return pick(0, 9) ? 0.0f : static_cast<float>(at_limit ? 1 : pick(-1, 2)); };
    d.reach = drawn(s.states() * s.reached, weight);
    d.shown = drawn(s.states() * s.flags, weight);
    return d;
}

// The row of states of one sample: gates that count, opened, closed, live.
std::vector<double> states_of(const Decision& d, int64_t n) {
    const RoutingDecisionShape& s = d.shape;
    std::vector<double> sums(static_cast<size_t>(s.nodes)), states(static_cast<size_t>(s.states()));
    for (int64_t path = 0; path < s.paths; ++path) sums[d.owner[path]] += d.gates[n * s.paths + path];
    for (int64_t node = 0; node < s.nodes; ++node) {
        const float live = d.live[n * s.nodes + node];
        const bool open = live > 0.0f && sums[node] >= 1e-4f;
        states[s.paths + node] = open;
        states[s.paths + s.nodes + node] = !open;
        states[s.paths + 2 * s.nodes + node] = live;
        for (int64_t path = 0; path < s.paths; ++path)
            if (d.owner[path] == node) states[path] = open ? d.gates[n * s.paths + path] : 0.0f;
    }
    return states;
}

bool is_above_0(const std::vector<double>& states, const std::vector<float>& matrix, int64_t columns, int64_t column) {
    double sum = 0.0;
    for (size_t row = 0; row < states.size(); ++row) sum += states[row] * matrix[row * columns + column];
    return sum > 0.0;
}

bool routing_decision_is_right() {
    const Decision d = random_decision();
    const RoutingDecisionShape& s = d.shape;
    std::vector<float> counted(static_cast<size_t>(s.batch * s.paths)), opened(static_cast<size_t>(s.batch * s.nodes)),
        reached(static_cast<size_t>(s.batch * s.reached));
    const auto flags = std::make_unique<bool[]>(static_cast<size_t>(s.flags));
    run_routing_decision(s, {d.gates.data(), d.live.data(), d.belongs.data(), d.reach.data(), d.shown.data()},
                         {counted.data(), opened.data(), reached.data(), flags.get()});

    std::vector<bool> any(static_cast<size_t>(s.flags));
    for (int64_t n = 0; n < s.batch; ++n) {
        const std::vector<double> states = states_of(d, n);
        for (int64_t path = 0; path < s.paths; ++path)
            if (!is_close("counted", n * s.paths + path, counted[n * s.paths + path], states[path], 0.0)) return false;
        for (int64_t node = 0; node < s.nodes; ++node)
            if (!is_close("opened", n * s.nodes + node, opened[n * s.nodes + node], states[s.paths + node], 0.0))
                return false;
        for (int64_t t = 0; t < s.reached; ++t) {
            const bool expected = is_above_0(states, d.reach, s.reached, t);
            if (!is_close("reached", n * s.reached + t, reached[n * s.reached + t], expected, 0.0)) return false;
        }
        for (int64_t f = 0; f < s.flags; ++f) any[f] = any[f] || is_above_0(states, d.shown, s.flags, f);
    }
    for (int64_t f = 0; f < s.flags; ++f)
        if (flags[f] != any[f]) return std::printf("flags[%ld] is wrong\n", long(f)), false;
    return true;
}

const OperatorTest test("routing_decision", routing_decision_is_right);

}  // namespace

}  // namespace adroit::tests
