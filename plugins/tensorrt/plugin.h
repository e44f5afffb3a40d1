// The boilerplate of every plugin and creator. An operator's own class has no base and
//
//   static constexpr const description::Operator& description
//   explicit Operator(const Attributes&)
//   static DataType type(int32_t position, DataType x)    of inputs, then outputs, given X's; kLINEAR all
//   static bool supports(DataType x)
//   void output_shapes(const DimsExprs* inputs, DimsExprs* outputs, Expressions&) const
//   check(inputs) -> shape                                throws InvalidInput; shapes are known
//   size_t workspace(const Dims* largest) const
//   cudaError_t enqueue(const Call&) const                queues work on the call's stream, nothing else
//
// and, in the same file, `void add_<file>(Creators&)`, which the generated tensorrt_operators.h calls.
// All state is the attributes, which never change: copies share them, so any thread may clone.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

#include "tensorrt/attributes.h"
#include "tensorrt/report.h"
#include "tensorrt/tensors.h"

namespace adroit::tensorrt {

constexpr int32_t kMostInputs = 8;

template <typename Operator>
class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
    static constexpr const description::Operator& kOperator = Operator::description;
    static_assert(Operator::description.inputs.size <= kMostInputs, "getWorkspaceSize has room for kMostInputs");

public:
    explicit Plugin(std::shared_ptr<const Attributes> attributes)
        : attributes_(std::move(attributes)), operator_(*attributes_) {}

    // ---- IPluginV3 ----
    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
        switch (type) {
            case nvinfer1::PluginCapabilityType::kCORE:
                return static_cast<IPluginV3OneCore*>(this);
            case nvinfer1::PluginCapabilityType::kBUILD:
                return static_cast<IPluginV3OneBuild*>(this);
            case nvinfer1::PluginCapabilityType::kRUNTIME:
                return static_cast<IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }
    nvinfer1::IPluginV3* clone() noexcept override { return copy(recorder_); }

    // ---- core ----
    const char* getPluginName() const noexcept override { return kOperator.name; }
    const char* getPluginVersion() const noexcept override { return kOperator.version; }
    const char* getPluginNamespace() const noexcept override { return kOperator.plugin_namespace; }

    // ---- build ----
    int32_t getNbOutputs() const noexcept override { return kOperator.outputs.size; }

    int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, int32_t inputs,
                            const nvinfer1::DynamicPluginTensorDesc* out, int32_t outputs) noexcept override {
        return guarded([&] {
            require_counts(inputs, outputs);
            for (int32_t i = 0; i < inputs; ++i) require_rank(kOperator.inputs[i], in[i].desc.dims.nbDims);
            for (int32_t i = 0; i < outputs; ++i) require_rank(kOperator.outputs[i], out[i].desc.dims.nbDims);
        });
    }

    bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors, int32_t inputs,
                                   int32_t outputs) noexcept override {
        if (inputs != kOperator.inputs.size || outputs != kOperator.outputs.size) return false;
        if (position < 0 || position >= inputs + outputs) return false;
        const nvinfer1::PluginTensorDesc& tensor = tensors[position].desc;
        if (tensor.format != nvinfer1::PluginFormat::kLINEAR) return false;
        const nvinfer1::DataType x = tensors[0].desc.type;
        return Operator::supports(x) && tensor.type == operator_.type(position, x);
    }

    int32_t getOutputDataTypes(nvinfer1::DataType* types, int32_t outputs, const nvinfer1::DataType* input_types,
                               int32_t inputs) const noexcept override {
        return guarded([&] {
            require_counts(inputs, outputs);
            if (!Operator::supports(input_types[0]))
                throw InvalidInput(std::string(kOperator.inputs[0].name) + " has TensorRT's type " +
                                   std::to_string(static_cast<int32_t>(input_types[0])) + ", which no kernel takes");
            for (int32_t i = 0; i < outputs; ++i) types[i] = operator_.type(inputs + i, input_types[0]);
        });
    }

    int32_t getOutputShapes(const nvinfer1::DimsExprs* in, int32_t inputs, const nvinfer1::DimsExprs*, int32_t,
                            nvinfer1::DimsExprs* out, int32_t outputs,
                            nvinfer1::IExprBuilder& builder) noexcept override {
        return guarded([&] {
            require_counts(inputs, outputs);
            for (int32_t i = 0; i < inputs; ++i) require_rank(kOperator.inputs[i], in[i].nbDims);
            for (int32_t i = 0; i < outputs; ++i) out[i].nbDims = kOperator.outputs[i].rank;
            Expressions expressions(builder);
            operator_.output_shapes(in, out, expressions);
        });
    }

    size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* in, int32_t inputs,
                            const nvinfer1::DynamicPluginTensorDesc*, int32_t outputs) const noexcept override {
        size_t bytes = 0;
        guarded([&] {
            require_counts(inputs, outputs);
            nvinfer1::Dims largest[kMostInputs];
            for (int32_t i = 0; i < inputs; ++i) require_rank(kOperator.inputs[i], (largest[i] = in[i].max).nbDims);
            bytes = operator_.workspace(largest);
        });
        return bytes;
    }

    // Not null, or every build would time the plugin anew. The kernels' own parameters, since TensorRT
    // adds the name, types and shapes itself.
    const char* getTimingCacheID() noexcept override { return attributes_->text().c_str(); }
    const char* getMetadataString() noexcept override { return attributes_->text().c_str(); }

    // ---- runtime ----
    int32_t onShapeChange(const nvinfer1::PluginTensorDesc* in, int32_t inputs, const nvinfer1::PluginTensorDesc*,
                          int32_t outputs) noexcept override {
        return guarded([&] {
            require_counts(inputs, outputs);
            for (int32_t i = 0; i < inputs; ++i) {
                require_rank(kOperator.inputs[i], in[i].dims.nbDims);
                require_not_empty(kOperator.inputs[i].name, in[i].dims);
            }
            operator_.check(in);
        });
    }

    int32_t enqueue(const nvinfer1::PluginTensorDesc* in, const nvinfer1::PluginTensorDesc*, const void* const* input,
                    void* const* output, void* workspace, cudaStream_t stream) noexcept override {
        return guarded([&] {
            const cudaError_t error = operator_.enqueue({in, input, output, workspace, stream});
            if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
        });
    }

    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override {
        return copy(context ? context->getErrorRecorder() : nullptr);
    }

    const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override { return attributes_->fields(); }

private:
    template <typename Body>
    int32_t guarded(const Body& body) const noexcept {
        return tensorrt::guarded(recorder_, kOperator.name, body);
    }

    Plugin* copy(nvinfer1::IErrorRecorder* recorder) noexcept {
        Plugin* made = nullptr;
        guarded([&] { (made = new Plugin(*this))->recorder_ = recorder; });
        return made;
    }

    static void require_counts(int32_t inputs, int32_t outputs) {
        if (inputs != kOperator.inputs.size || outputs != kOperator.outputs.size)
            throw InvalidInput(std::to_string(inputs) + " inputs and " + std::to_string(outputs) +
                               " outputs, expected " + std::to_string(kOperator.inputs.size) + " and " +
                               std::to_string(kOperator.outputs.size));
    }

    std::shared_ptr<const Attributes> attributes_;
    Operator operator_;
    nvinfer1::IErrorRecorder* recorder_ = nullptr;  // of the context we are attached to
};

template <typename Operator>
class Creator final : public nvinfer1::IPluginCreatorV3One {
    static constexpr const description::Operator& kOperator = Operator::description;

public:
    Creator() : fields_(field_names(kOperator)) {
        collection_.nbFields = static_cast<int32_t>(fields_.size());
        collection_.fields = fields_.data();
    }

    // The same at build time, from the node's attributes, and at run time, from a plan.
    nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                      nvinfer1::TensorRTPhase) noexcept override {
        nvinfer1::IPluginV3* made = nullptr;
        guarded(nullptr, kOperator.name,
                [&] { made = new Plugin<Operator>(std::make_shared<const Attributes>(kOperator, fields)); });
        return made;
    }

    const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
    const char* getPluginName() const noexcept override { return kOperator.name; }
    const char* getPluginVersion() const noexcept override { return kOperator.version; }
    const char* getPluginNamespace() const noexcept override { return kOperator.plugin_namespace; }

private:
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

using Creators = std::vector<nvinfer1::IPluginCreatorInterface*>;

// The creator of an operator, which outlives every registry.
template <typename Operator>
nvinfer1::IPluginCreatorInterface* creator() {
    static Creator<Operator> only;
    return &only;
}

}  // namespace adroit::tensorrt
