// BilinearUpsample (plugins/operators.toml) for ONNX Runtime on the CPU.
#pragma once

#include "kernels/cpu/bilinear_upsample.h"
#include "onnxruntime/adapter.h"
#include "onnxruntime/registration.h"
#include "onnxruntime/spreading.h"
#include "operators.h"

namespace adroit::onnxruntime {

class BilinearUpsample {
public:
    static constexpr const adroit::description::Operator& description = adroit::description::kBilinearUpsample;
    static constexpr const char* provider = kOnCpu;
    static ONNXTensorElementDataType input_type(size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
    static ONNXTensorElementDataType output_type(size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }

    explicit BilinearUpsample(const Ort::ConstKernelInfo& info) : factor_(int_attribute(info, description, "factor")) {}

    void compute(const Ort::KernelContext& context) const {
        const FloatInput x = float_input(context, 0, "X", 4);
        for (int64_t size : x.shape)
            if (size < 1) throw InvalidInput("empty input: X is " + shape_text(x.shape));
        const adroit::BilinearUpsampleShape shape{x.shape[0] * x.shape[1], x.shape[2], x.shape[3], factor_};
        float* y = tensor_output<float>(context, 0, {x.shape[0], x.shape[1], shape.out_height(), shape.out_width()});
        cpu::bilinear_upsample(shape, x.data, y, spreading_.threads(context));
    }

private:
    int64_t factor_;
    mutable Spreading spreading_;
};

inline void add_bilinear_upsample(Ort::CustomOpDomain& domain) { add<BilinearUpsample>(domain); }

}  // namespace adroit::onnxruntime
