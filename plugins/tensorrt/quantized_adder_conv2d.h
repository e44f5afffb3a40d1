// QAdderConv2d and QAdderConv2dAdd (plugins/operators.toml) for TensorRT. X, W and the residual are
// int8 (TensorRT has no uint8 arithmetic), and so is Y, or it is float32.
#pragma once

#include "kernels/cuda/quantized_adder_conv2d.h"
#include "operators.h"
#include "tensorrt/plugin.h"
#include "tensorrt/window.h"

namespace adroit::tensorrt {

template <bool HasResidual>
class QAdderConv2d {
    using DataType = nvinfer1::DataType;
    // The numbers of ONNX's types in `output_type`.
    static constexpr int64_t kFloat32 = 1, kInt8 = 3;
    // The sum then stays below 2^24 (operators.toml).
    static constexpr int64_t kMaxTaps = 65793;

public:
    static constexpr const adroit::description::Operator& description =
        HasResidual ? adroit::description::kQAdderConv2dAdd : adroit::description::kQAdderConv2d;

    explicit QAdderConv2d(const Attributes& attributes) : window_(attributes), epilogue_{} {
        const int64_t output_type = attributes.integer("output_type");
        if (output_type != kFloat32 && output_type != kInt8)
            throw InvalidInput("field output_type is " + std::to_string(output_type) +
                               ", expected 1 (float32) or 3 (int8): TensorRT has no uint8 arithmetic");
        epilogue_.is_signed = true;
        epilogue_.relu = attributes.integer("activation") == 1;
        epilogue_.quantized_output = output_type == kInt8;
        epilogue_.x_zero_point = zero_point(attributes, "x_zero_point");
        epilogue_.output_scale = attributes.real("output_scale");
        epilogue_.output_zero_point = zero_point(attributes, "output_zero_point");
        if constexpr (HasResidual) {
            epilogue_.residual_scale = attributes.real("residual_scale");
            epilogue_.residual_zero_point = zero_point(attributes, "residual_zero_point");
        }
    }

    static bool supports(DataType x) { return x == DataType::kINT8; }
    DataType type(int32_t position, DataType x) const {
        if (position == 2 || position == 3) return DataType::kFLOAT;
        return position == description.inputs.size && !epilogue_.quantized_output ? DataType::kFLOAT : x;
    }

    void output_shapes(const nvinfer1::DimsExprs* in, nvinfer1::DimsExprs* out, Expressions& expressions) const {
        window_.output_shape(in, out, expressions);
    }

    AdderConv2dShape check(const nvinfer1::PluginTensorDesc* in) const {
        const AdderConv2dShape shape = window_.check(in, HasResidual);
        if (shape.taps() > kMaxTaps)
            throw InvalidInput("W (" + shape_text(in[1].dims) + ") has " + std::to_string(shape.taps()) +
                               " taps, at most " + std::to_string(kMaxTaps) + " are summed exactly");
        return shape;
    }
    size_t workspace(const nvinfer1::Dims*) const { return 0; }

    cudaError_t enqueue(const Call& call) const {
        cuda::QuantizedAdderEpilogue epilogue = epilogue_;
        epilogue.scale = static_cast<const float*>(call.input[2]);
        epilogue.shift = static_cast<const float*>(call.input[3]);
        epilogue.residual = HasResidual ? call.input[4] : nullptr;
        return cuda::quantized_adder_conv2d(call.stream, check(call.inputs), call.input[0], call.input[1], epilogue,
                                            call.output[0]);
    }

private:
    static int zero_point(const Attributes& attributes, const char* name) {
        const int64_t value = attributes.integer(name);
        if (value < -128 || value > 127)
            throw InvalidInput("field " + std::string(name) + " is " + std::to_string(value) +
                               ", expected an int8 (-128 to 127)");
        return static_cast<int>(value);
    }

    Window window_;
    cuda::QuantizedAdderEpilogue epilogue_;  // without its pointers
};

inline void add_quantized_adder_conv2d(Creators& creators) {
    creators.push_back(creator<QAdderConv2d<false>>());
    creators.push_back(creator<QAdderConv2d<true>>());
}

}  // namespace adroit::tensorrt
