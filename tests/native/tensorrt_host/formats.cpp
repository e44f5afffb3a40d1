// supportsFormatCombination, called as the builder does: position by position, every type and format.
#include <algorithm>

#include "case.h"

namespace host {

namespace {

using nvinfer1::DataType;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::TensorFormat;

constexpr int32_t kTypes = nvinfer1::EnumMax<DataType>(), kFormats = nvinfer1::EnumMax<TensorFormat>();

class Enumeration {
public:
    Enumeration(Checks& checks, const Plugin& plugin, const Case& node)
        : checks_(checks), build_(*plugin.build), node_(node), tensors_(ranged(node.inputs, node.draw(0))) {
        const auto outputs = ranged(node.outputs, node.draw(0));
        tensors_.insert(tensors_.end(), outputs.begin(), outputs.end());
    }

    void run() {
        walk(0);
        checks_.expect(combinations_ > 0, "no combination of types and formats is supported");
        checks_.expect(combinations_ <= build_.getFormatCombinationLimit(),
                       std::to_string(combinations_) + " combinations, more than the limit");
        checks_.expect(!node_.combinations || combinations_ == node_.combinations,
                       std::to_string(combinations_) + " combinations are supported, not the case's " +
                           std::to_string(node_.combinations));
        checks_.expect(found_, "the case's own types are not supported");
    }

private:
    // Every answer for this position, given what is in the ones before it. The ones after hold noise,
    // twice another: they may not matter.
    void walk(size_t position) {
        if (position == tensors_.size()) return completed();
        const int before = combinations_;
        bool any = false;
        for (int32_t type = 0; type < kTypes; ++type)
            for (int32_t format = 0; format < kFormats; ++format) {
                tensors_[position].desc.type = static_cast<DataType>(type);
                tensors_[position].desc.format = static_cast<TensorFormat>(format);
                noise(position, 0, 0);
                const bool first = supported(position);
                noise(position, kTypes - 1, kFormats - 1);
                if (first != supported(position)) stable_ = false;
                if (!first) continue;
                any = true;
                walk(position + 1);
            }
        checks_.expect(stable_, "the result depends on tensors after the requested one");
        checks_.expect(position == 0 || any, "position " + std::to_string(position) + " is a dead end");
        if (position > 0) checks_.expect(combinations_ > before, "a supported start leads nowhere");
    }

    bool supported(size_t position) {
        return build_.supportsFormatCombination(static_cast<int32_t>(position), tensors_.data(),
                                                static_cast<int32_t>(node_.inputs.size()),
                                                static_cast<int32_t>(node_.outputs.size()));
    }

    void noise(size_t position, int32_t type, int32_t format) {
        for (size_t i = position + 1; i < tensors_.size(); ++i) {
            tensors_[i].desc.type = static_cast<DataType>(type);
            tensors_[i].desc.format = static_cast<TensorFormat>(format);
        }
    }

    void completed() {
        ++combinations_;
        std::vector<DataType> types;
        bool own = true;
        for (size_t i = 0; i < tensors_.size(); ++i) {
            const bool is_input = i < node_.inputs.size();
            const Tensor& tensor = is_input ? node_.inputs[i] : node_.outputs[i - node_.inputs.size()];
            types.push_back(tensors_[i].desc.type);
            own &= tensor.type == types.back() && tensors_[i].desc.format == TensorFormat::kLINEAR;
        }
        found_ |= own;
        const size_t inputs = node_.inputs.size(), outputs = node_.outputs.size();
        std::vector<DataType> given(outputs);
        const int32_t code = build_.getOutputDataTypes(given.data(), static_cast<int32_t>(outputs), types.data(),
                                                       static_cast<int32_t>(inputs));
        checks_.expect(code == 0 && std::equal(given.begin(), given.end(), types.begin() + static_cast<long>(inputs)),
                       "getOutputDataTypes does not give the types that are supported");
        for (DataType type : given)
            checks_.expect(type != DataType::kBOOL && type != DataType::kUINT8,
                           "an output is bool or uint8, which TensorRT does not take from a plugin");
        const int32_t configured = build_.configurePlugin(tensors_.data(), static_cast<int32_t>(inputs),
                                                          tensors_.data() + inputs, static_cast<int32_t>(outputs));
        checks_.expect(configured == 0, "configurePlugin gives " + std::to_string(configured));
    }

    Checks& checks_;
    nvinfer1::IPluginV3OneBuild& build_;
    const Case& node_;
    std::vector<DynamicPluginTensorDesc> tensors_;
    int combinations_ = 0;
    bool found_ = false, stable_ = true;
};

}  // namespace

void check_formats(Checks& checks, const Library& library, const Case& node) {
    checks.enter("formats " + node.name);
    const Plugin plugin = create(checks, library, node);
    if (plugin) Enumeration(checks, plugin, node).run();
}

}  // namespace host
