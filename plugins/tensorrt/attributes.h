// The attributes of one node: read from TensorRT's fields, checked against operators.toml, and
// written back when an engine is serialized. They are the whole state of a plugin.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "description.h"

namespace adroit::tensorrt {

class Attributes {
public:
    // Integers may come as int32 or int64. The node's stamps plugin_version and plugin_namespace are
    // taken too, if right. Throws InvalidInput for a field that is missing, unknown, given twice, of
    // another type or length, or out of range.
    Attributes(const description::Operator& op, const nvinfer1::PluginFieldCollection* fields);

    // The fields point into this object.
    Attributes(const Attributes&) = delete;
    Attributes& operator=(const Attributes&) = delete;

    int64_t integer(const char* name) const { return integers(name)[0]; }
    const std::vector<int32_t>& integers(const char* name) const { return value(name).integers; }
    float real(const char* name) const { return value(name).reals[0]; }

    const nvinfer1::PluginFieldCollection* fields() const { return &collection_; }
    // "strides=1,1 pads=0,0,0,0 activation=1": unlike for unlike attributes.
    const std::string& text() const { return text_; }

private:
    struct Value {
        std::vector<int32_t> integers;  // of an attribute of integers
        std::vector<float> reals;       // of one of floating-point numbers
    };

    void read(const nvinfer1::PluginField& field);
    const Value& value(const char* name) const;

    const description::Operator& operator_;
    std::vector<Value> values_;  // in the order of the description
    std::vector<nvinfer1::PluginField> serialized_;
    nvinfer1::PluginFieldCollection collection_{};
    std::string text_;
};

// The fields that a creator asks the ONNX parser for.
std::vector<nvinfer1::PluginField> field_names(const description::Operator& op);

}  // namespace adroit::tensorrt
