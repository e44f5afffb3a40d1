// Which instruction set the CPU kernels use, chosen once per process.
#pragma once

namespace adroit::cpu {

enum class InstructionSet { generic, avx2, avx512 };

// The best set that this build and this CPU have, or the one that the environment variable
// ADROIT_INSTRUCTION_SET (generic, avx2, avx512) asks for. Throws std::runtime_error where that
// is unknown or not available here: a quiet fallback would falsify a test or a measurement.
InstructionSet instruction_set();

const char* name(InstructionSet set);

}  // namespace adroit::cpu
