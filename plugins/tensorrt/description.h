// What operators.toml says of an operator, as constants; describe_operators.py writes them at build
// time. No framework header.
#pragma once

#include <cstddef>
#include <cstdint>

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

struct Tensor {
    const char* name;
    int32_t rank;
};

struct Operator {
    const char *name, *version, *plugin_namespace;
    List<Attribute> attributes;
    List<Tensor> inputs, outputs;
};

}  // namespace adroit::description
