#include "kernels/cuda/adder_kernel.h"
#include "kernels/cuda/quantized_adder_conv2d.h"

namespace adroit::cuda {
namespace {

struct QuantizedOutput {
    QuantizedAdderEpilogue epilogue;
    void* y;

    ADROIT_DEVICE float residual_at(const uint8_t* residual, int64_t i) const {
        const int stored = epilogue.is_signed ? static_cast<int8_t>(residual[i]) : residual[i];
        return rounded_product(epilogue.residual_scale, static_cast<float>(stored - epilogue.residual_zero_point));
    }
    ADROIT_DEVICE float value(int64_t index, int filter, uint32_t sum) const {
        const QuantizedAdderEpilogue& e = epilogue;
        float value = e.shift[filter] - rounded_product(e.scale[filter], static_cast<float>(sum));
        if (e.residual) value += residual_at(static_cast<const uint8_t*>(e.residual), index);
        return e.relu && value < 0.0f ? 0.0f : value;
    }
    ADROIT_DEVICE uint8_t quantized(float value) const {
        const float low = epilogue.is_signed ? -128.0f : 0.0f, high = epilogue.is_signed ? 127.0f : 255.0f;
        const float shifted = rintf(value / epilogue.output_scale) + static_cast<float>(epilogue.output_zero_point);
        return static_cast<uint8_t>(static_cast<int>(fminf(fmaxf(shifted, low), high)));
    }
    ADROIT_DEVICE void write(int64_t index, int filter, uint32_t sum) const {
        const float result = value(index, filter, sum);
        if (epilogue.quantized_output)
            static_cast<uint8_t*>(y)[index] = quantized(result);
        else
            static_cast<float*>(y)[index] = result;
    }
    ADROIT_DEVICE void write_quad(int64_t index, int filter, const uint32_t* sums) const {
        Quad<float> values;
        ADROIT_UNROLL
        for (int i = 0; i < 4; ++i) values.at[i] = value(index + i, filter, sums[i]);
        if (!epilogue.quantized_output) {
            *reinterpret_cast<Quad<float>*>(static_cast<float*>(y) + index) = values;
            return;
        }
        Quad<uint8_t> bytes;
        ADROIT_UNROLL
        for (int i = 0; i < 4; ++i) bytes.at[i] = quantized(values.at[i]);
        *reinterpret_cast<Quad<uint8_t>*>(static_cast<uint8_t*>(y) + index) = bytes;
    }
};

}  // namespace

cudaError_t quantized_adder_conv2d(cudaStream_t stream, const AdderConv2dShape& shape, const void* x,
                                   const void* weights, const QuantizedAdderEpilogue& epilogue, void* y) {
    if (!AdderGeometry::fits(shape) || shape.taps() > kMaxQuantizedTaps) return cudaErrorInvalidValue;
    const ByteElements elements{epilogue.is_signed ? 0x80808080u : 0u, static_cast<uint8_t>(epilogue.x_zero_point)};
    const size_t quad = epilogue.quantized_output ? sizeof(Quad<uint8_t>) : sizeof(Quad<float>);
    return launch_adder<ByteElements, QuantizedOutput>(stream, {AdderGeometry(shape),
                                                                elements,
                                                                static_cast<const uint8_t*>(x),
                                                                static_cast<const uint8_t*>(weights),
                                                                shape.taps() % 16 == 0 && is_aligned(weights, 16),
                                                                shape.out_pixels() % 4 == 0 && is_aligned(y, quad),
                                                                0,
                                                                {epilogue, y}});
}

}  // namespace adroit::cuda
