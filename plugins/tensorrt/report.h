// How reasons leave the library. TensorRT's own logger is out of reach: `setLoggerFinder` hands us
// an object whose layout changed between TensorRT 10 and 11, so that calling it from a library built
// for the other major version crashes. So every reason is a line on standard error, and goes to the
// error recorder of the execution context as well where the plugin is attached to one that has it.
#pragma once

#include <NvInferRuntime.h>

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

namespace adroit::tensorrt {

// Raised for fields, shapes or types that an operator cannot take.
struct InvalidInput : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void report(nvinfer1::IErrorRecorder* recorder, const char* op, nvinfer1::ErrorCode code,
                   const char* reason) noexcept {
    std::fprintf(stderr, "adroit: %s: %s\n", op, reason);
    if (recorder) recorder->reportError(code, reason);
}

// TensorRT calls us through noexcept methods: no exception may pass. 0 means success.
template <typename Body>
int32_t guarded(nvinfer1::IErrorRecorder* recorder, const char* op, const Body& body) noexcept {
    using nvinfer1::ErrorCode;
    ErrorCode code = ErrorCode::kSUCCESS;
    try {
        body();
    } catch (const InvalidInput& e) {
        report(recorder, op, code = ErrorCode::kINVALID_ARGUMENT, e.what());
    } catch (const std::exception& e) {
        report(recorder, op, code = ErrorCode::kFAILED_EXECUTION, e.what());
    }
    return static_cast<int32_t>(code);
}

}  // namespace adroit::tensorrt
