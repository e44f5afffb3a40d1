// Shapes and types as TensorRT gives them: checks, and expressions for shapes that are not known yet.
#pragma once

#include <NvInferRuntime.h>

#include <initializer_list>
#include <string>

#include "description.h"
#include "kernels/cuda/launch.h"
#include "tensorrt/report.h"

namespace adroit::tensorrt {

inline std::string shape_text(const nvinfer1::Dims& dims) {
    std::string text;
    for (int32_t i = 0; i < dims.nbDims; ++i) text += (i ? "x" : "") + std::to_string(dims.d[i]);
    return text;
}

inline void require_rank(const description::Tensor& tensor, int32_t rank) {
    if (rank != tensor.rank)
        throw InvalidInput(std::string(tensor.name) + " has " + std::to_string(rank) + " dimensions, expected " +
                           std::to_string(tensor.rank));
}

inline void require_shape(const char* name, const nvinfer1::Dims& dims, std::initializer_list<int64_t> expected) {
    nvinfer1::Dims wanted{};
    for (int64_t size : expected) wanted.d[wanted.nbDims++] = size;
    bool same = dims.nbDims == wanted.nbDims;
    for (int32_t i = 0; same && i < dims.nbDims; ++i) same = dims.d[i] == wanted.d[i];
    if (!same)
        throw InvalidInput(std::string(name) + " has shape " + shape_text(dims) + ", expected " + shape_text(wanted));
}

inline void require_not_empty(const char* name, const nvinfer1::Dims& dims) {
    for (int32_t i = 0; i < dims.nbDims; ++i)
        if (dims.d[i] < 1) throw InvalidInput("empty input: " + std::string(name) + " is " + shape_text(dims));
}

inline bool is_float(nvinfer1::DataType type) {
    return type == nvinfer1::DataType::kFLOAT || type == nvinfer1::DataType::kHALF;
}

inline cuda::DataType kernel_type(nvinfer1::DataType type) {
    return type == nvinfer1::DataType::kHALF ? cuda::DataType::kFloat16 : cuda::DataType::kFloat32;
}

// One call of an operator: where its tensors are and what they hold.
struct Call {
    const nvinfer1::PluginTensorDesc* inputs;
    const void* const* input;
    void* const* output;
    void* workspace;
    cudaStream_t stream;
};

// Builds the expressions of models/operators/shapes.py.
class Expressions {
public:
    using Size = const nvinfer1::IDimensionExpr*;

    explicit Expressions(nvinfer1::IExprBuilder& builder) : builder_(builder) {}

    // floor((size + pad_begin + pad_end - kernel) / stride) + 1
    Size convolved(Size size, Size kernel, int64_t stride, int64_t pad_begin, int64_t pad_end) {
        using Op = nvinfer1::DimensionOperation;
        const Size room = make(Op::kSUB, make(Op::kSUM, size, constant(pad_begin + pad_end)), kernel);
        return make(Op::kSUM, make(Op::kFLOOR_DIV, room, constant(stride)), constant(1));
    }

    // ceil(size / stride)
    Size kept(Size size, int64_t stride) {
        return make(nvinfer1::DimensionOperation::kCEIL_DIV, size, constant(stride));
    }

private:
    Size constant(int64_t value) { return made(builder_.constant(value)); }
    Size make(nvinfer1::DimensionOperation operation, Size a, Size b) {
        return made(builder_.operation(operation, *a, *b));
    }
    static Size made(Size size) {
        if (!size) throw InvalidInput("TensorRT cannot express an output's size");
        return size;
    }

    nvinfer1::IExprBuilder& builder_;
};

}  // namespace adroit::tensorrt
