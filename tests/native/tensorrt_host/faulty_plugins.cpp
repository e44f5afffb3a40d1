// A plugin library that is not ours: one small operator with, on demand, one fault. It proves that
// the host takes any library, and that each of its checks can fail.
//
//   Y [N, C * repeat] = X [N, C] * factor, repeated;  float32; fields: factor (float32), repeat (int32)
//
// The environment variable FAULT names the fault; without it the plugin is right.
#include <NvInferRuntime.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace {

using namespace nvinfer1;

bool fault(const char* name) {
    const char* requested = std::getenv("FAULT");
    return requested && !std::strcmp(requested, name);
}

void throw_one() { throw std::runtime_error("through a noexcept method"); }

class Repeat final : public IPluginV3, public IPluginV3OneCore, public IPluginV3OneBuild, public IPluginV3OneRuntime {
public:
    Repeat(float factor, int32_t repeat) : factor_(factor), repeat_(repeat) {}

    IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
        if (type == PluginCapabilityType::kCORE) return static_cast<IPluginV3OneCore*>(this);
        if (type == PluginCapabilityType::kBUILD) return static_cast<IPluginV3OneBuild*>(this);
        return fault("no runtime") ? nullptr : static_cast<IPluginV3OneRuntime*>(this);
    }
    IPluginV3* clone() noexcept override {
        if (fault("no clone")) return nullptr;
        return new Repeat(fault("other clone") ? 1.0f : factor_, repeat_);
    }
    const char* getPluginName() const noexcept override { return "Repeat"; }
    const char* getPluginVersion() const noexcept override { return "2"; }
    const char* getPluginNamespace() const noexcept override { return ""; }

    int32_t getNbOutputs() const noexcept override { return 1; }
    int32_t configurePlugin(const DynamicPluginTensorDesc*, int32_t, const DynamicPluginTensorDesc*,
                            int32_t) noexcept override {
        return fault("refuses to configure") ? 1 : 0;
    }
    bool supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* tensors, int32_t,
                                   int32_t) noexcept override {
        if (fault("no format") || (fault("dead end") && position == 1)) return false;
        if (fault("looks ahead") && position == 0 && tensors[1].desc.type != DataType::kFLOAT) return false;
        const PluginTensorDesc& tensor = tensors[position].desc;
        if (fault("another format") && position == 1 && tensor.format == TensorFormat::kHWC8)
            return tensor.type == DataType::kFLOAT;
        return tensor.format == TensorFormat::kLINEAR && tensor.type == DataType::kFLOAT;
    }
    int32_t getOutputDataTypes(DataType* types, int32_t, const DataType*, int32_t) const noexcept override {
        types[0] = fault("other type") ? DataType::kHALF : DataType::kFLOAT;
        return 0;
    }
    int32_t getOutputShapes(const DimsExprs* in, int32_t inputs, const DimsExprs*, int32_t, DimsExprs* out, int32_t,
                            IExprBuilder& builder) noexcept override {
        if (!fault("takes any rank") && (inputs != 1 || in[0].nbDims != 2)) return 1;
        out[0].nbDims = fault("other rank") ? 1 : 2;
        out[0].d[0] = in[0].d[0];
        const IDimensionExpr* columns = in[0].d[1];
        if (fault("size known too early")) columns = builder.constant(columns->getConstantValue());
        out[0].d[1] = builder.operation(fault("other shape") ? DimensionOperation::kSUM : DimensionOperation::kPROD,
                                        *columns, *builder.constant(repeat_));
        return 0;
    }
    size_t getWorkspaceSize(const DynamicPluginTensorDesc* in, int32_t, const DynamicPluginTensorDesc*,
                            int32_t) const noexcept override {
        if (fault("workspace shrinks")) return static_cast<size_t>(1000 - in[0].max.d[0]);
        return 8;
    }
    const char* getTimingCacheID() noexcept override { return fault("no timing cache ID") ? nullptr : "repeat"; }

    int32_t onShapeChange(const PluginTensorDesc* in, int32_t, const PluginTensorDesc*, int32_t) noexcept override {
        if (fault("throws")) throw_one();
        return fault("refuses shapes") && in[0].dims.d[0] > 2 ? 1 : 0;
    }
    int32_t enqueue(const PluginTensorDesc* in, const PluginTensorDesc* out, const void* const* input,
                    void* const* output, void* workspace, cudaStream_t) noexcept override {
        const int64_t columns = in[0].dims.d[1], wide = out[0].dims.d[1];
        if (fault("workspace too small")) std::memset(workspace, 1, 9);
        for (int64_t i = 0; i < in[0].dims.d[0] * wide; ++i)
            static_cast<float*>(output[0])[i] = static_cast<const float*>(input[0])[i / wide * columns + i % columns] *
                                                (fault("wrong numbers") ? 1 : factor_);
        if (fault("reads its workspace")) static_cast<float*>(output[0])[0] += *static_cast<const char*>(workspace);
        return fault("enqueue fails") ? 1 : 0;
    }
    IPluginV3* attachToContext(IPluginResourceContext*) noexcept override {
        return fault("not attached") ? nullptr : new Repeat(factor_, repeat_);
    }
    const PluginFieldCollection* getFieldsToSerialize() noexcept override {
        serialized_[0] = PluginField("factor", &factor_, PluginFieldType::kFLOAT32, 1);
        serialized_[1] = PluginField("repeat", &repeat_, PluginFieldType::kINT32, 1);
        collection_.nbFields = fault("forgets a field") ? 1 : 2;
        collection_.fields = serialized_;
        return &collection_;
    }

private:
    float factor_;
    int32_t repeat_;
    PluginField serialized_[2];
    PluginFieldCollection collection_{};
};

class RepeatCreator final : public IPluginCreatorV3One {
public:
    IPluginV3* createPlugin(const char*, const PluginFieldCollection* given, TensorRTPhase) noexcept override {
        float factor = 0;
        int32_t repeat = 0;
        for (int32_t i = 0; given && given->fields && i < given->nbFields; ++i) {
            const PluginField& field = given->fields[i];
            if (!field.name) return nullptr;
            for (int32_t k = 0; k < i && !fault("takes any field"); ++k)
                if (!std::strcmp(field.name, given->fields[k].name)) return nullptr;
            if (fault("trusts types") && field.data && !std::strcmp(field.name, "repeat"))
                repeat = *static_cast<const int32_t*>(field.data);
            const bool single = field.data && field.length == 1;
            if (single && field.type == PluginFieldType::kFLOAT32 && !std::strcmp(field.name, "factor"))
                std::memcpy(&factor, field.data, sizeof factor);
            else if (single && field.type == PluginFieldType::kINT32 && !std::strcmp(field.name, "repeat"))
                std::memcpy(&repeat, field.data, sizeof repeat);
            else if (!fault("trusts types") && !fault("takes any field"))
                return nullptr;
        }
        if (fault("takes any field") && repeat < 1) repeat = 1;
        if (fault("takes any field") && factor == 0) factor = 1;
        if (!(factor > 0) || repeat < 1 || repeat > (fault("takes any number") ? INT32_MAX : 1000)) return nullptr;
        return new Repeat(factor, repeat);
    }
    const PluginFieldCollection* getFieldNames() noexcept override {
        if (fault("lists a field less")) collection_.nbFields = 1;
        return &collection_;
    }
    const char* getPluginName() const noexcept override { return fault("other name") ? "Repeats" : "Repeat"; }
    const char* getPluginVersion() const noexcept override { return fault("other version") ? "1" : "2"; }
    const char* getPluginNamespace() const noexcept override { return fault("other namespace") ? "theirs" : ""; }

private:
    PluginField fields_[2] = {PluginField("factor", nullptr, PluginFieldType::kFLOAT32, 1),
                              PluginField("repeat", nullptr, PluginFieldType::kINT32, 1)};
    PluginFieldCollection collection_{2, fields_};
};

}  // namespace

extern "C" {

__attribute__((visibility("default"))) IPluginCreatorInterface* const* getCreators(int32_t& count) {
    static RepeatCreator creator;
    static IPluginCreatorInterface* const creators[] = {&creator, &creator};
    count = fault("no creators") ? 0 : fault("twice the same") ? 2 : 1;
    return creators;
}

__attribute__((visibility("default"))) void setLoggerFinder(ILoggerFinder* finder) {
    if (fault("finds the logger") && finder) finder->findLogger();
}

}  // extern "C"
