#include "kernels/cuda/adder_conv2d.h"
#include "kernels/cuda/adder_kernel.h"

namespace adroit::cuda {
namespace {

// Scale, shift, residual and ReLU in float32, rounded once.
template <typename T>
struct FloatOutput {
    const float *scale, *shift;
    const T* residual;
    bool relu;
    T* y;

    ADROIT_DEVICE float value(int filter, float sum) const { return shift[filter] - scale[filter] * sum; }
    ADROIT_DEVICE T finished(float value) const {
        // A comparison that is false for NaN keeps NaN, as the frameworks' ReLU does.
        return from_float<T>(relu && value < 0.0f ? 0.0f : value);
    }
    ADROIT_DEVICE void write(int64_t index, int filter, float sum) const {
        const float rest = residual ? to_float(residual[index]) : 0.0f;
        y[index] = finished(value(filter, sum) + rest);
    }
    ADROIT_DEVICE void write_quad(int64_t index, int filter, const float* sums) const {
        Quad<T> result;
        Quad<T> rest{};
        if (residual) rest = *reinterpret_cast<const Quad<T>*>(residual + index);
        ADROIT_UNROLL
        for (int i = 0; i < 4; ++i)
            result.at[i] = finished(value(filter, sums[i]) + (residual ? to_float(rest.at[i]) : 0.0f));
        *reinterpret_cast<Quad<T>*>(y + index) = result;
    }
};

template <typename T>
cudaError_t run(cudaStream_t stream, const AdderConv2dShape& shape, const void* x, const void* weights,
                const AdderConv2dEpilogue& epilogue, void* y) {
    const auto* residual = static_cast<const T*>(epilogue.residual);
    const size_t quad = sizeof(Quad<T>);
    return launch_adder<FloatElements<T>, FloatOutput<T>>(
        stream, {AdderGeometry(shape),
                 {},
                 static_cast<const T*>(x),
                 static_cast<const T*>(weights),
                 shape.taps() % 4 == 0 && is_aligned(weights, quad),
                 shape.out_pixels() % 4 == 0 && is_aligned(y, quad) && is_aligned(residual, quad),
                 0,
                 {epilogue.scale, epilogue.shift, residual, epilogue.relu, static_cast<T*>(y)}});
}

}  // namespace

cudaError_t adder_conv2d(cudaStream_t stream, const AdderConv2dShape& shape, DataType type, const void* x,
                         const void* weights, const AdderConv2dEpilogue& epilogue, void* y) {
    if (!AdderGeometry::fits(shape)) return cudaErrorInvalidValue;
    return type == DataType::kFloat32 ? run<float>(stream, shape, x, weights, epilogue, y)
                                      : run<__half>(stream, shape, x, weights, epilogue, y);
}

}  // namespace adroit::cuda
