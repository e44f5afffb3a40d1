// The CUDA launchers over the CPU kernels: "device" pointers are host pointers and the stream is
// ignored. They let a machine without a GPU prove that the TensorRT adapters hand every tensor,
// attribute and byte of workspace to the right parameter. They say nothing of the CUDA kernels.
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/adaptive_filter.h"
#include "kernels/cpu/adder_conv2d.h"
#include "kernels/cpu/routing_gate.h"
#include "kernels/cuda/adaptive_filter.h"
#include "kernels/cuda/adder_conv2d.h"
#include "kernels/cuda/quantised_adder_conv2d.h"
#include "kernels/cuda/routing_gate.h"

namespace adroit::cuda {

namespace {

std::vector<float> widened(const void* data, int64_t count, DataType type) {
    std::vector<float> values(static_cast<size_t>(count));
    const auto* floats = static_cast<const float*>(data);
    const auto* halves = static_cast<const __half*>(data);
    for (size_t i = 0; i < values.size(); ++i)
        values[i] = type == DataType::kFloat32 ? floats[i] : __half2float(halves[i]);
    return values;
}

void narrow(const std::vector<float>& values, DataType type, void* data) {
    for (size_t i = 0; i < values.size(); ++i)
        if (type == DataType::kFloat32)
            static_cast<float*>(data)[i] = values[i];
        else
            static_cast<__half*>(data)[i] = __float2half_rn(values[i]);
}

int64_t elements_of_y(const AdderConv2dShape& s) { return s.batch * s.out_channels * s.out_pixels(); }

// Sum over c, kh, kw of |Xpad - W| for one output element; X and W are int8.
int32_t distance(const AdderConv2dShape& s, const int8_t* x, const int8_t* w, int pad, int64_t top, int64_t left) {
    int32_t sum = 0;
    for (int64_t c = 0; c < s.in_channels; ++c)
        for (int64_t kh = 0; kh < s.kernel_height; ++kh)
            for (int64_t kw = 0; kw < s.kernel_width; ++kw, ++w) {
                const int64_t row = top + kh, column = left + kw;
                const bool inside = row >= 0 && row < s.height && column >= 0 && column < s.width;
                sum += std::abs((inside ? x[(c * s.height + row) * s.width + column] : pad) - *w);
            }
    return sum;
}

}  // namespace

cudaError_t adder_conv2d(cudaStream_t, const AdderConv2dShape& s, DataType type, const void* x, const void* weights,
                         const AdderConv2dEpilogue& epilogue, void* y) {
    const auto floats = widened(x, s.batch * s.in_channels * s.height * s.width, type);
    const auto w =
        cpu::pack_adder_weights(widened(weights, s.out_channels * s.taps(), type).data(), s.out_channels, s.taps());
    std::vector<float> out(static_cast<size_t>(elements_of_y(s))), residual;
    if (epilogue.residual) residual = widened(epilogue.residual, elements_of_y(s), type);
    cpu::adder_conv2d(s, floats.data(), w,
                      {epilogue.scale, epilogue.shift, residual.empty() ? nullptr : residual.data(), epilogue.relu},
                      out.data(), cpu::run_serially);
    narrow(out, type, y);
    return cudaSuccess;
}

cudaError_t quantised_adder_conv2d(cudaStream_t, const AdderConv2dShape& s, const void* x, const void* weights,
                                   const QuantisedAdderEpilogue& e, void* y) {
    if (!e.is_signed) return cudaErrorInvalidValue;  // the adapters know int8 only
    const auto *pixels = static_cast<const int8_t*>(x), *w = static_cast<const int8_t*>(weights);
    for (int64_t i = 0; i < elements_of_y(s); ++i) {
        const int64_t column = i % s.out_width(), row = i / s.out_width() % s.out_height();
        const int64_t m = i / s.out_pixels() % s.out_channels, n = i / s.out_pixels() / s.out_channels;
        const int32_t sum =
            distance(s, pixels + n * s.in_channels * s.height * s.width, w + m * s.taps(), e.x_zero_point,
                     row * s.stride_height - s.pad_top, column * s.stride_width - s.pad_left);
        float value = e.shift[m] - e.scale[m] * static_cast<float>(sum);
        if (e.residual)
            value += e.residual_scale *
                     static_cast<float>(static_cast<const int8_t*>(e.residual)[i] - e.residual_zero_point);
        if (e.relu) value = std::max(value, 0.0f);
        if (e.quantised_output) {
            const float steps = std::nearbyint(value / e.output_scale) + static_cast<float>(e.output_zero_point);
            static_cast<int8_t*>(y)[i] = static_cast<int8_t>(std::min(std::max(steps, -128.0f), 127.0f));
        } else {
            static_cast<float*>(y)[i] = value;
        }
    }
    return cudaSuccess;
}

cudaError_t adaptive_filter(cudaStream_t, const AdaptiveFilterShape& s, DataType type, const void* x,
                            const void* logits, void* y) {
    const int64_t out_pixels = s.out_height() * s.out_width();
    std::vector<float> out(static_cast<size_t>(s.batch * s.channels * out_pixels));
    cpu::adaptive_filter(s, widened(x, s.batch * s.channels * s.height * s.width, type).data(),
                         widened(logits, s.batch * s.groups * s.taps() * out_pixels, type).data(), out.data(),
                         cpu::run_serially);
    narrow(out, type, y);
    return cudaSuccess;
}

// All of it is written, so that a plugin that asks for less than the kernel uses is found out.
size_t routing_gate_workspace(const RoutingGateShape& s) {
    return static_cast<size_t>(s.batch * s.hidden) * sizeof(float);
}

cudaError_t routing_gate(cudaStream_t, const RoutingGateShape& s, DataType type, const void* x,
                         const RoutingGateParameters& p, float* gates, bool* open, void* workspace) {
    std::memset(workspace, 0xff, routing_gate_workspace(s));
    const auto w1 = cpu::pack_gate_weights(widened(p.w1, s.hidden * s.channels, type).data(), s.hidden, s.channels);
    cpu::routing_gate(s, widened(x, s.batch * s.channels * s.height * s.width, type).data(), w1,
                      {p.b1, p.w2, p.b2, p.threshold, p.threshold_per_sample}, gates, open, cpu::run_serially);
    return cudaSuccess;
}

}  // namespace adroit::cuda

// What the adapters call of the CUDA runtime.
extern "C" {

cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t) {
    std::memset(data, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind, cudaStream_t) {
    for (size_t row = 0; row < height; ++row)
        std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
    return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorInvalidValue ? "invalid argument" : "emulated error";
}

}  // extern "C"
