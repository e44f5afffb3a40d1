// AdaptiveFilter (plugins/operators.toml) for ONNX Runtime: the node on any device, and its kernel on the CPU.
#pragma once

#include <algorithm>

#include "kernels/cpu/adaptive_filter.h"
#include "onnxruntime/adapter.h"
#include "onnxruntime/plan_cache.h"
#include "onnxruntime/registration.h"
#include "onnxruntime/spreading.h"
#include "operators.h"

namespace adroit::onnxruntime {

class AdaptiveFilterNode {
public:
    static constexpr const adroit::description::Operator& description = adroit::description::kAdaptiveFilter;
    static ONNXTensorElementDataType input_type(size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
    static ONNXTensorElementDataType output_type(size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }

    explicit AdaptiveFilterNode(const Ort::ConstKernelInfo& info)
        : kernel_size_(int_attribute(info, description, "kernel_size")),
          stride_(int_attribute(info, description, "stride")),
          groups_(int_attribute(info, description, "groups")),
          joint_softmax_(int_attribute(info, description, "joint_softmax") == 1) {}

protected:
    // A call's tensors, checked; the pointers are the device's.
    struct Call {
        adroit::AdaptiveFilterShape shape;
        const float *x, *logits;
        float* y;
    };

    Call read(const Ort::KernelContext& context) const {
        const FloatInput x = float_input(context, 0, "X", 4), logits = float_input(context, 1, "logits", 4);
        const adroit::AdaptiveFilterShape shape = checked_shape(x);
        const Shape out{shape.batch, shape.channels, shape.out_height(), shape.out_width()};
        require_shape(logits, "logits", {shape.batch, shape.groups * shape.taps(), out[2], out[3]});
        return {shape, x.data, logits.data, tensor_output<float>(context, 0, out)};
    }

private:
    adroit::AdaptiveFilterShape checked_shape(const FloatInput& x) const {
        for (int64_t size : x.shape)
            if (size < 1) throw InvalidInput("empty input: X is " + shape_text(x.shape));
        if (x.shape[1] % groups_ != 0)
            throw InvalidInput("X has " + std::to_string(x.shape[1]) + " channels, which " + std::to_string(groups_) +
                               " groups do not divide");
        if (std::min(x.shape[2], x.shape[3]) <= kernel_size_ / 2)
            throw InvalidInput("X (" + shape_text(x.shape) + ") is too small to reflect by " +
                               std::to_string(kernel_size_ / 2) + " pixels");
        return {x.shape[0], x.shape[1], x.shape[2], x.shape[3], kernel_size_, stride_, groups_, joint_softmax_};
    }

    int64_t kernel_size_, stride_, groups_;
    bool joint_softmax_;
};

class AdaptiveFilter : public AdaptiveFilterNode {
public:
    static constexpr const char* provider = kOnCpu;
    using AdaptiveFilterNode::AdaptiveFilterNode;

    void compute(const Ort::KernelContext& context) const {
        const Call call = read(context);
        const auto plan = plans_.find(call.shape, cpu::plan_adaptive_filter);
        cpu::adaptive_filter(*plan, call.x, call.logits, call.y, spreading_.threads(context));
    }

private:
    mutable Spreading spreading_;
    mutable PlanCache<cpu::AdaptiveFilterPlan> plans_;
};

inline void add_adaptive_filter(Ort::CustomOpDomain& domain) { add<AdaptiveFilter>(domain); }

}  // namespace adroit::onnxruntime
