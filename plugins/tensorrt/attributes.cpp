#include "tensorrt/attributes.h"

#include <algorithm>
#include <cstring>

#include "tensorrt/report.h"

namespace adroit::tensorrt {

namespace {

using description::Attribute;
using description::number_text;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

// Strings come with their closing NUL (the ONNX parser) or without it (Python).
std::string string_of(const PluginField& field) {
    if (field.type != PluginFieldType::kCHAR || !field.data || field.length < 0)
        throw InvalidInput("field " + std::string(field.name) + " is not a string");
    const char* text = static_cast<const char*>(field.data);
    return std::string(text, std::find(text, text + field.length, '\0'));
}

template <typename Number>
Number element(const void* data, int32_t i) {
    Number value;  // fields need not be aligned
    std::memcpy(&value, static_cast<const char*>(data) + static_cast<size_t>(i) * sizeof value, sizeof value);
    return value;
}

void require_integer_type(const PluginField& field) {
    if (field.type != PluginFieldType::kINT32 && field.type != PluginFieldType::kINT64)
        throw InvalidInput("field " + std::string(field.name) + " has type " +
                           std::to_string(static_cast<int32_t>(field.type)) + ", expected int32 or int64");
}

int64_t integer_element(const PluginField& field, int32_t i) {
    return field.type == PluginFieldType::kINT64 ? element<int64_t>(field.data, i) : element<int32_t>(field.data, i);
}

void require_float_type(const PluginField& field) {
    if (field.type != PluginFieldType::kFLOAT32)
        throw InvalidInput("field " + std::string(field.name) + " has type " +
                           std::to_string(static_cast<int32_t>(field.type)) + ", expected float32");
}

template <typename Number>
void require_in_range(const Attribute& attribute, Number value) {
    if (!description::allows(attribute, value))
        throw InvalidInput("field " + std::string(attribute.name) + " holds " + number_text(value) + ", expected " +
                           description::allowed_text(attribute));
}

}  // namespace

Attributes::Attributes(const description::Operator& op, const nvinfer1::PluginFieldCollection* fields)
    : operator_(op), values_(static_cast<size_t>(op.attributes.size)) {
    if (!fields || fields->nbFields < 0 || (fields->nbFields > 0 && !fields->fields))
        throw InvalidInput("no fields were given");
    for (int32_t i = 0; i < fields->nbFields; ++i) read(fields->fields[i]);
    for (int32_t i = 0; i < op.attributes.size; ++i) {
        const Attribute& attribute = op.attributes[i];
        const Value& value = values_[static_cast<size_t>(i)];
        if (value.integers.empty() && value.reals.empty())
            throw InvalidInput("field " + std::string(attribute.name) + " is missing");
        text_ += (i ? " " : "") + std::string(attribute.name);
        for (size_t k = 0; k < value.integers.size(); ++k) text_ += (k ? "," : "=") + number_text(value.integers[k]);
        for (size_t k = 0; k < value.reals.size(); ++k) text_ += (k ? "," : "=") + number_text(value.reals[k]);
        if (attribute.is_float)
            serialized_.emplace_back(attribute.name, value.reals.data(), PluginFieldType::kFLOAT32, attribute.length);
        else
            serialized_.emplace_back(attribute.name, value.integers.data(), PluginFieldType::kINT32, attribute.length);
    }
    // TensorRT says nothing of an empty timing cache ID.
    if (op.attributes.size == 0) text_ = "no attributes";
    collection_.nbFields = static_cast<int32_t>(serialized_.size());
    collection_.fields = serialized_.data();
}

void Attributes::read(const PluginField& field) {
    if (!field.name) throw InvalidInput("a field has no name");
    const std::string name = field.name;
    for (const auto& [stamp, expected] :
         {std::pair{"plugin_version", operator_.version}, std::pair{"plugin_namespace", operator_.plugin_namespace}})
        if (name == stamp) {
            if (string_of(field) == expected) return;
            throw InvalidInput("field " + name + " is '" + string_of(field) + "', expected '" + expected + "'");
        }
    const auto* found = std::find_if(operator_.attributes.begin(), operator_.attributes.end(),
                                     [&](const Attribute& attribute) { return name == attribute.name; });
    if (found == operator_.attributes.end()) throw InvalidInput("field " + name + " is unknown");
    Value& value = values_[static_cast<size_t>(found - operator_.attributes.begin())];
    if (!value.integers.empty() || !value.reals.empty()) throw InvalidInput("field " + name + " is given twice");
    found->is_float ? require_float_type(field) : require_integer_type(field);
    if (!field.data || field.length != found->length)
        throw InvalidInput("field " + name + " has " + std::to_string(field.data ? field.length : 0) +
                           " values, expected " + std::to_string(found->length));
    for (int32_t i = 0; i < field.length; ++i) {
        if (found->is_float) {
            value.reals.push_back(element<float>(field.data, i));
            require_in_range(*found, value.reals.back());
        } else {
            const int64_t number = integer_element(field, i);
            require_in_range(*found, number);
            value.integers.push_back(static_cast<int32_t>(number));
        }
    }
}

const Attributes::Value& Attributes::value(const char* name) const {
    for (int32_t i = 0; i < operator_.attributes.size; ++i)
        if (!std::strcmp(operator_.attributes[i].name, name)) return values_[static_cast<size_t>(i)];
    throw std::logic_error("operators.toml has no attribute " + std::string(name));
}

std::vector<PluginField> field_names(const description::Operator& op) {
    std::vector<PluginField> fields;
    for (const Attribute& attribute : op.attributes)
        fields.emplace_back(attribute.name, nullptr,
                            attribute.is_float ? PluginFieldType::kFLOAT32 : PluginFieldType::kINT32, attribute.length);
    return fields;
}

}  // namespace adroit::tensorrt
