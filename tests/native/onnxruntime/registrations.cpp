// Prints what a custom-op library registers, a line each: operator, execution provider, types of the inputs,
// ":" and types of the outputs (ONNX numbers). ONNX Runtime itself is not needed: the library meets an API of
// the four functions that registering calls. In the end, "CUDA driver loaded" where the library did that.
//
//   registrations LIBRARY
#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <cstdio>
#include <cstring>

namespace {

OrtApi api{};

const OrtApi* get_api(uint32_t) noexcept { return &api; }

OrtStatus* create_domain(const char*, OrtCustomOpDomain** domain) noexcept {
    static char any;
    *domain = reinterpret_cast<OrtCustomOpDomain*>(&any);
    return nullptr;
}

OrtStatus* add_operator(OrtCustomOpDomain*, const OrtCustomOp* op) noexcept {
    std::printf("%s %s", op->GetName(op), op->GetExecutionProviderType(op));
    for (size_t i = 0; i < op->GetInputTypeCount(op); ++i) std::printf(" %d", op->GetInputType(op, i));
    std::printf(" :");
    for (size_t i = 0; i < op->GetOutputTypeCount(op); ++i) std::printf(" %d", op->GetOutputType(op, i));
    // Kernels find every tensor on their own device.
    for (size_t i = 0; i < op->GetInputTypeCount(op); ++i)
        if (op->GetInputMemoryType(op, i) != OrtMemTypeDefault) std::printf(" (input %zu is elsewhere)", i);
    std::printf("\n");
    return nullptr;
}

OrtStatus* add_domain(OrtSessionOptions*, OrtCustomOpDomain*) noexcept { return nullptr; }

void release_domain(OrtCustomOpDomain*) noexcept {}

OrtStatus* create_status(OrtErrorCode, const char* message) noexcept {
    std::printf("error: %s\n", message);
    return nullptr;
}

}  // namespace

int main(int, char** arguments) {
    api.CreateCustomOpDomain = create_domain;
    api.CustomOpDomain_Add = add_operator;
    api.AddCustomOpDomain = add_domain;
    api.ReleaseCustomOpDomain = release_domain;
    api.CreateStatus = create_status;
    static const OrtApiBase base{get_api, nullptr};
    void* library = dlopen(arguments[1], RTLD_NOW);
    if (!library) return std::fprintf(stderr, "%s\n", dlerror()), 1;
    using Register = OrtStatus* (*)(OrtSessionOptions*, const OrtApiBase*);
    const auto function = reinterpret_cast<Register>(dlsym(library, "RegisterCustomOps"));
    if (!function) return std::fprintf(stderr, "%s\n", dlerror()), 1;
    function(nullptr, &base);
    if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD)) std::printf("CUDA driver loaded\n");
}
