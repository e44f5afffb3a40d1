// The launchers as C functions, for ctypes. A shape is the array of its structure's integers, in order; the
// type of X is 0 (float32) or 1 (float16); the result is the launch's cudaError_t.
#include "kernels/cuda/adaptive_filter.h"
#include "kernels/cuda/adder_conv2d.h"
#include "kernels/cuda/quantized_adder_conv2d.h"
#include "kernels/cuda/routing_decision.h"
#include "kernels/cuda/routing_gate.h"

#define ADROIT_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace adroit;

cuda::DataType type_of(int type) { return type == 0 ? cuda::DataType::kFloat32 : cuda::DataType::kFloat16; }

AdderConv2dShape adder_shape(const int64_t* s) {
    return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12]};
}

RoutingGateShape gate_shape(const int64_t* s) { return {s[0], s[1], s[2], s[3], s[4], s[5], s[6]}; }

}  // namespace

ADROIT_EXPORT int adroit_adder_conv2d(cudaStream_t stream, const int64_t* shape, int type, const void* x,
                                      const void* weights, const float* scale, const float* shift, const void* residual,
                                      int relu, void* y) {
    return cuda::adder_conv2d(stream, adder_shape(shape), type_of(type), x, weights,
                              {scale, shift, residual, relu != 0}, y);
}

// zero_points: of X, of the residual, of the output.
ADROIT_EXPORT int adroit_quantized_adder_conv2d(cudaStream_t stream, const int64_t* shape, int is_signed, const void* x,
                                                const void* weights, const float* scale, const float* shift,
                                                const void* residual, float residual_scale, int relu,
                                                int quantized_output, float output_scale, const int* zero_points,
                                                void* y) {
    cuda::QuantizedAdderEpilogue e{};
    e.scale = scale;
    e.shift = shift;
    e.residual = residual;
    e.residual_scale = residual_scale;
    e.residual_zero_point = zero_points[1];
    e.relu = relu != 0;
    e.quantized_output = quantized_output != 0;
    e.output_scale = output_scale;
    e.output_zero_point = zero_points[2];
    e.x_zero_point = zero_points[0];
    e.is_signed = is_signed != 0;
    return cuda::quantized_adder_conv2d(stream, adder_shape(shape), x, weights, e, y);
}

ADROIT_EXPORT int adroit_adaptive_filter(cudaStream_t stream, const int64_t* s, int joint_softmax, int type,
                                         const void* x, const void* logits, void* y) {
    const AdaptiveFilterShape shape{s[0], s[1], s[2], s[3], s[4], s[5], s[6], joint_softmax != 0};
    return cuda::adaptive_filter(stream, shape, type_of(type), x, logits, y);
}

ADROIT_EXPORT size_t adroit_routing_gate_workspace(const int64_t* shape) {
    return cuda::routing_gate_workspace(gate_shape(shape));
}

ADROIT_EXPORT int adroit_routing_gate(cudaStream_t stream, const int64_t* shape, int type, const void* x,
                                      const void* w1, const float* b1, const float* w2, const float* b2,
                                      const float* threshold, int threshold_per_sample, float* gates, bool* open,
                                      void* workspace) {
    return cuda::routing_gate(stream, gate_shape(shape), type_of(type), x,
                              {w1, b1, w2, b2, threshold, threshold_per_sample != 0}, gates, open, workspace);
}

ADROIT_EXPORT int adroit_routing_decision(cudaStream_t stream, const int64_t* s, const float* gates, const float* live,
                                          const float* belongs, const float* reach, const float* shown, float* counted,
                                          float* opened, float* reached, bool* flags) {
    return cuda::routing_decision(stream, {s[0], s[1], s[2], s[3], s[4]}, {gates, live, belongs, reach, shown},
                                  {counted, opened, reached, flags});
}
