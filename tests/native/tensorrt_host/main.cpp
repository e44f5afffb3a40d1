// Plays TensorRT's builder over a plugin library (IPluginV3): metadata, fields, shapes, formats, the
// life of a plugin, and its kernels.
//
//   plugin_host LIBRARY CASES [--runtime LIBNVINFER] [--host-memory] [--mutations N]
//
//   --runtime      load through the registry of this TensorRT library instead of dlopen; the host must be
//                  compiled with headers of the same major version
//   --host-memory  the library's kernels are emulated on the CPU
//   --mutations    wrong sets of fields tried for each case (1000)
//
// CASES is described in case.h. Prints a line for each plugin and for each failed check, then the
// totals. Exit code: 0 all right, 1 failed checks, 2 cannot begin.
#include <cstring>
#include <stdexcept>

#include "case.h"

namespace {

struct Options {
    std::string library, cases, runtime;
    bool host_memory = false;
    int mutations = 1000;
};

Options parsed(int count, char** words) {
    Options options;
    std::vector<std::string> plain;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        if (word == "--host-memory")
            options.host_memory = true;
        else if (word == "--runtime" && i + 1 < count)
            options.runtime = words[++i];
        else if (word == "--mutations" && i + 1 < count)
            options.mutations = std::stoi(words[++i]);
        else
            plain.push_back(word);
    }
    if (plain.size() != 2)
        throw std::runtime_error("usage: plugin_host LIBRARY CASES [--runtime LIBNVINFER] [--host-memory]");
    options.library = plain[0];
    options.cases = plain[1];
    return options;
}

int run(const Options& options) {
    const std::vector<host::Case> cases = host::read_cases(options.cases);
    host::Library library(options.library, options.runtime);
    host::Checks checks;
    std::printf("%zu plugins by %s; host compiled for TensorRT %d.%d\n", library.creators().size(),
                library.way_in().c_str(), NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR);
    host::check_metadata(checks, library, cases);
    int run_on_device = 0;
    for (const host::Case& node : cases) {
        host::check_fields(checks, library, node, options.mutations);
        host::check_shapes(checks, library, node);
        host::check_formats(checks, library, node);
        host::check_lifecycle(checks, library, node);
        run_on_device += host::check_enqueue(checks, library, node, options.host_memory);
    }
    library.check_registry(checks, options.library);
    if (!run_on_device) std::printf("SKIP enqueue: no GPU (%s)\n", host::no_gpu_reason().c_str());
    std::printf("%d checks over %zu cases, %d failed\n", checks.done(), cases.size(), checks.failed());
    return checks.failed() ? 1 : 0;
}

}  // namespace

int main(int count, char** words) {
    try {
        return run(parsed(count, words));
    } catch (const std::exception& e) {
        std::fprintf(stderr, "plugin_host: %s\n", e.what());
        return 2;
    }
}
