// The kernels under test are the CPU's.
#include "kernel_tests.h"
#include "kernels/cpu/adaptive_filter.h"
#include "kernels/cpu/adder_conv2d.h"
#include "kernels/cpu/adder_conv2d_gradient.h"
#include "kernels/cpu/bilinear_upsample.h"
#include "kernels/cpu/routing_decision.h"
#include "kernels/cpu/routing_gate.h"

namespace adroit::tests {

void run_adaptive_filter(const AdaptiveFilterShape& shape, const float* x, const float* logits, float* y) {
    cpu::adaptive_filter(cpu::plan_adaptive_filter(shape), x, logits, y, cpu::run_serially);
}

void run_adder_conv2d(const AdderConv2dShape& shape, const float* x, const float* weights, const float* scale,
                      const float* shift, const float* residual, bool relu, float* y) {
    const auto packed = cpu::pack_adder_weights(weights, shape.out_channels, shape.taps());
    cpu::adder_conv2d(cpu::plan_adder_conv2d(shape), x, packed, {scale, shift, residual, relu}, y, cpu::run_serially);
}

void run_adder_conv2d_input_gradient(const AdderConv2dShape& shape, const float* x, const float* weights,
                                     const float* y_gradient, float* x_gradient) {
    cpu::adder_conv2d_input_gradient(shape, x, weights, y_gradient, x_gradient, cpu::run_serially);
}

void run_bilinear_upsample(const BilinearUpsampleShape& shape, const float* x, float* y) {
    cpu::bilinear_upsample(shape, x, y, cpu::run_serially);
}

void run_routing_gate(const RoutingGateShape& shape, const float* x, const GateParameters& p, float* gates,
                      bool* open) {
    cpu::routing_gate(cpu::plan_routing_gate(shape), x, cpu::pack_gate_weights(p.w1, shape.hidden, shape.channels),
                      {p.b1, p.w2, p.b2, p.threshold, p.threshold_per_sample}, gates, open, cpu::run_serially);
}

void run_routing_decision(const RoutingDecisionShape& shape, const DecisionInputs& in, const DecisionOutputs& out) {
    cpu::routing_decision(shape, {in.gates, in.live, in.belongs, in.reach, in.shown},
                          {out.counted, out.opened, out.reached, out.flags});
}

}  // namespace adroit::tests
