// The kernels under test are CUDA's, on the device that device_buffer.h is found for.
#include "device_buffer.h"
#include "kernels/cuda/adaptive_filter.h"
#include "kernels/cuda/adder_conv2d.h"
#include "kernels/cuda/routing_decision.h"
#include "kernels/cuda/routing_gate.h"

namespace adroit::tests {
namespace {

cuda::DataType data_type() { return stored_as_half ? cuda::DataType::kFloat16 : cuda::DataType::kFloat32; }

void require_success(cudaError_t error) {
    if (error == cudaSuccess) return;
    std::printf("a launcher gave error %d\n", static_cast<int>(error));
    std::exit(1);
}

template <typename T>
void run_filter(const AdaptiveFilterShape& s, const float* x, const float* logits, float* y) {
    const int64_t plane = s.out_height() * s.out_width();
    DeviceBuffer<T> in(x, s.batch * s.channels * s.height * s.width),
        weights(logits, s.batch * s.groups * s.taps() * plane), out(s.batch * s.channels * plane);
    require_success(cuda::adaptive_filter(test_stream(), s, data_type(), in.data(), weights.data(), out.data()));
    out.copy_to(y);
}

template <typename T>
void run_adder(const AdderConv2dShape& s, const float* x, const float* weights, const float* scale, const float* shift,
               const float* residual, bool relu, float* y) {
    const int64_t outputs = s.batch * s.out_channels * s.out_pixels();
    DeviceBuffer<T> in(x, s.batch * s.in_channels * s.height * s.width), filters(weights, s.out_channels * s.taps()),
        rest = residual ? DeviceBuffer<T>(residual, outputs) : DeviceBuffer<T>(0), out(outputs);
    DeviceBuffer<float> factors(scale, s.out_channels), offsets(shift, s.out_channels);
    require_success(cuda::adder_conv2d(test_stream(), s, data_type(), in.data(), filters.data(),
                                       {factors.data(), offsets.data(), residual ? rest.data() : nullptr, relu},
                                       out.data()));
    out.copy_to(y);
}

template <typename T>
void run_gate(const RoutingGateShape& s, const float* x, const GateParameters& p, float* gates, bool* open) {
    DeviceBuffer<T> in(x, s.batch * s.channels * s.height * s.width), w1(p.w1, s.hidden * s.channels);
    DeviceBuffer<float> b1(p.b1, s.hidden), w2(p.w2, s.paths * s.hidden), b2(p.b2, s.paths),
        threshold(p.threshold, p.threshold_per_sample ? s.batch : 1), values(s.batch * s.paths);
    DeviceBuffer<bool> is_open(s.paths);
    DeviceBuffer<float> workspace(static_cast<int64_t>(cuda::routing_gate_workspace(s) / sizeof(float)));
    require_success(
        cuda::routing_gate(test_stream(), s, data_type(), in.data(),
                           {w1.data(), b1.data(), w2.data(), b2.data(), threshold.data(), p.threshold_per_sample},
                           values.data(), is_open.data(), workspace.data()));
    values.copy_to(gates);
    is_open.copy_to(open);
}

// Flag: bool, or int32 as TensorRT wants them.
template <typename Flag>
void run_decision(const RoutingDecisionShape& s, const DecisionInputs& in, const DecisionOutputs& out) {
    DeviceBuffer<float> gates(in.gates, s.batch * s.paths), live(in.live, s.batch * s.nodes),
        belongs(in.belongs, s.paths * s.nodes), reach(in.reach, s.states() * s.reached),
        shown(in.shown, s.states() * s.flags), counted(s.batch * s.paths), opened(s.batch * s.nodes),
        reached(s.batch * s.reached);
    DeviceBuffer<Flag> flags(s.flags);
    require_success(cuda::routing_decision(test_stream(), s,
                                           {gates.data(), live.data(), belongs.data(), reach.data(), shown.data()},
                                           {counted.data(), opened.data(), reached.data(), flags.data()}));
    counted.copy_to(out.counted);
    opened.copy_to(out.opened);
    reached.copy_to(out.reached);
    flags.copy_to(out.flags);
}

}  // namespace

void run_adaptive_filter(const AdaptiveFilterShape& shape, const float* x, const float* logits, float* y) {
    choose_device();
    (stored_as_half ? run_filter<__half> : run_filter<float>)(shape, x, logits, y);
}

void run_adder_conv2d(const AdderConv2dShape& shape, const float* x, const float* weights, const float* scale,
                      const float* shift, const float* residual, bool relu, float* y) {
    choose_device();
    (stored_as_half ? run_adder<__half> : run_adder<float>)(shape, x, weights, scale, shift, residual, relu, y);
}

void run_routing_gate(const RoutingGateShape& shape, const float* x, const GateParameters& parameters, float* gates,
                      bool* open) {
    choose_device();
    (stored_as_half ? run_gate<__half> : run_gate<float>)(shape, x, parameters, gates, open);
}

void run_routing_decision(const RoutingDecisionShape& shape, const DecisionInputs& in, const DecisionOutputs& out) {
    (pick(0, 1) ? run_decision<bool> : run_decision<int32_t>)(shape, in, out);
}

}  // namespace adroit::tests
