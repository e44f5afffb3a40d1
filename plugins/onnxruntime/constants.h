// Inputs of a node that are constants of the model, looked at once, when the session starts: to ask ONNX
// Runtime for a tensor's shape allocates memory, at every call and for every input.
//
// For kernels on the CPU. A node on another device keeps none, and reads all of its inputs at every call.
#pragma once

#include <cstring>

#include "onnxruntime/adapter.h"

namespace adroit::onnxruntime {

class Constants {
public:
    // Copies input `index`, if it is a constant.
    template <typename Element>
    void keep(const Ort::ConstKernelInfo& info, size_t index) {
        int constant = 0;
        const Ort::ConstValue value = info.GetTensorConstantInput(index, &constant);
        if (!constant) return;
        const auto shape = value.GetTensorTypeAndShapeInfo().GetShape();
        if (shape.size() > Shape::kMaxRank) return;  // `read` refuses it
        Known& known = make(index, {shape.data(), shape.size()});
        known.values.resize(value.GetTensorTypeAndShapeInfo().GetElementCount() * sizeof(Element));
        if (!known.values.empty()) std::memcpy(known.values.data(), value.GetTensorRawData(), known.values.size());
    }

    // Calls use(values, shape) and keeps the shape, if input `index` is a constant of that rank; returns whether
    // it is. `read` then gives no values: the caller made something of them.
    template <typename Element, typename Use>
    bool use(const Ort::ConstKernelInfo& info, size_t index, size_t rank, const Use& use) {
        int constant = 0;
        const Ort::ConstValue value = info.GetTensorConstantInput(index, &constant);
        if (!constant || value.GetTensorTypeAndShapeInfo().GetDimensionsCount() != rank) return false;
        const auto shape = value.GetTensorTypeAndShapeInfo().GetShape();
        use(value.GetTensorData<Element>(), make(index, {shape.data(), rank}).shape);
        return true;
    }

    template <typename Element>
    TensorInput<Element> read(const Ort::KernelContext& context, size_t index, const char* name, size_t rank) const {
        if (index < known_.size() && known_[index].shape.size() == rank)
            return {reinterpret_cast<const Element*>(known_[index].values.data()), known_[index].shape};
        return tensor_input<Element>(context, index, name, rank);
    }

private:
    struct Known {
        Shape shape;
        std::vector<char> values;
    };

    Known& make(size_t index, const Shape& shape) {
        if (known_.size() <= index) known_.resize(index + 1);
        known_[index].shape = shape;
        return known_[index];
    }

    std::vector<Known> known_;  // by index; of rank 0 where it is not known
};

}  // namespace adroit::onnxruntime
