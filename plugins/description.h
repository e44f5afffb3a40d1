// The types of the constants that describe_operators.py writes from operators.toml at build time: one Operator for
// each operator. Both adapters check attributes by them. No framework header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

namespace adroit::description {

// A constant array and its length; C++ has no empty array, so that an empty list has none.
template <typename Item>
struct List {
    constexpr List() = default;
    template <size_t Count>
    constexpr List(const Item (&array)[Count]) : items(array), size(static_cast<int32_t>(Count)) {}

    const Item* begin() const { return items; }
    const Item* end() const { return items + size; }
    const Item& operator[](int32_t i) const { return items[i]; }

    const Item* items = nullptr;
    int32_t size = 0;
};

// `length` values of one type, each within [minimum, maximum] and, where there are some, among `values`.
struct Attribute {
    const char* name;
    bool is_float;  // else an integer
    int32_t length;
    double minimum, maximum;
    int64_t values[4];
    int32_t value_count;
};

// A value that is not a number is outside every range.
template <typename Number>
bool allows(const Attribute& attribute, Number value) {
    if (!(value >= attribute.minimum && value <= attribute.maximum)) return false;
    for (int32_t i = 0; i < attribute.value_count; ++i)
        if (value == static_cast<Number>(attribute.values[i])) return true;
    return attribute.value_count == 0;
}

// Nine digits tell any two float32 apart; more would show the rounding of a float32 that was made a double.
template <typename Number>
std::string number_text(Number number) {
    std::ostringstream text;
    text.precision(9);
    text << number;
    return text.str();
}

// "1 to 1024", or "3, 5 or 7".
inline std::string allowed_text(const Attribute& attribute) {
    if (attribute.value_count == 0) return number_text(attribute.minimum) + " to " + number_text(attribute.maximum);
    std::string text;
    for (int32_t i = 0; i < attribute.value_count; ++i)
        text += (i == 0 ? "" : i + 1 == attribute.value_count ? " or " : ", ") + number_text(attribute.values[i]);
    return text;
}

struct Tensor {
    const char* name;
    int32_t rank;
};

struct Operator {
    const char *name, *version, *plugin_namespace;
    List<Attribute> attributes;
    List<Tensor> inputs, outputs;
};

// Throws std::logic_error where operators.toml has no such attribute: a mistake of the adapter.
inline const Attribute& attribute_of(const Operator& op, const std::string& name) {
    for (const Attribute& attribute : op.attributes)
        if (name == attribute.name) return attribute;
    throw std::logic_error("operators.toml has no attribute " + name + " of " + op.name);
}

}  // namespace adroit::description
