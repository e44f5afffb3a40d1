#include "kernels/cpu/instruction_set.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace adroit::cpu {
namespace {

bool available(InstructionSet set) {
#if defined(__x86_64__)
    switch (set) {
        case InstructionSet::generic:
            return true;
        case InstructionSet::avx2:
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        case InstructionSet::avx512:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
#endif
    return set == InstructionSet::generic;
}

InstructionSet choose() {
    const char* variable = std::getenv("ADROIT_INSTRUCTION_SET");
    const std::string requested = variable ? variable : "";
    for (auto set : {InstructionSet::avx512, InstructionSet::avx2, InstructionSet::generic}) {
        if (requested.empty() ? available(set) : requested == name(set)) {
            if (!available(set))
                throw std::runtime_error("ADROIT_INSTRUCTION_SET=" + requested + ": this CPU lacks it");
            return set;
        }
    }
    throw std::runtime_error("ADROIT_INSTRUCTION_SET=" + requested + ": not one of generic, avx2, avx512");
}

}  // namespace

InstructionSet instruction_set() {
    static const InstructionSet chosen = choose();
    return chosen;
}

const char* name(InstructionSet set) {
    switch (set) {
        case InstructionSet::avx512:
            return "avx512";
        case InstructionSet::avx2:
            return "avx2";
        case InstructionSet::generic:
            break;
    }
    return "generic";
}

}  // namespace adroit::cpu
