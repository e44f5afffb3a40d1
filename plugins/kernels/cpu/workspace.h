// Memory of a thread that lasts from call to call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace adroit::cpu {

// A buffer as large as its largest request. It starts with a cache line, since a vector that lies across
// two costs two loads.
template <typename Element>
class Buffer {
public:
    Element* of_size(int64_t count) {
        constexpr size_t line = 64;
        const size_t needed = static_cast<size_t>(count) + line / sizeof(Element);
        if (values_.size() < needed) values_.resize(needed);
        const size_t past = reinterpret_cast<uintptr_t>(values_.data()) % line;
        return values_.data() + (past == 0 ? 0 : (line - past) / sizeof(Element));
    }

private:
    std::vector<Element> values_;
};

}  // namespace adroit::cpu
