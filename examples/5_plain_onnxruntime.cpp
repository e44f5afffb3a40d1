// A deployment in a C++ program of one's own, by ONNX Runtime alone.
//
//   c++ -std=c++17 5_plain_onnxruntime.cpp -I ONNXRUNTIME/include -L ONNXRUNTIME/lib -lonnxruntime -o plain
//   ./plain "$(python -c 'import adroit; print(adroit.native_library())')" DEPLOYMENT/1/model.onnx 32 32
//
// The library of operators has no other needs than ONNX Runtime's own.
#include <onnxruntime_cxx_api.h>

#include <cstdlib>
#include <iostream>
#include <numeric>
#include <vector>

int main(int argc, char** argv) {
    if (argc != 5) {
        std::cerr << "usage: plain LIBRARY MODEL HEIGHT WIDTH\n";
        return 2;
    }
    try {
        Ort::Env environment(ORT_LOGGING_LEVEL_ERROR, "plain");
        Ort::SessionOptions options;
        options.RegisterCustomOpsLibrary(argv[1]);
        Ort::Session session(environment, argv[2], options);
        Ort::AllocatorWithDefaultOptions allocator;
        const auto input = session.GetInputNameAllocated(0, allocator);
        const auto output = session.GetOutputNameAllocated(0, allocator);

        // Free dimensions are -1: the batch, and the image's height and width.
        auto shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
        const std::vector<int64_t> sizes = {1, 3, std::atoll(argv[3]), std::atoll(argv[4])};
        for (size_t axis = 0; axis < shape.size() && axis < sizes.size(); ++axis) {
            if (shape[axis] < 0) shape[axis] = sizes[axis];
        }
        const auto count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
        std::vector<float> image(count, 0.5f);
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        auto tensor = Ort::Value::CreateTensor<float>(memory, image.data(), image.size(), shape.data(), shape.size());

        const char* inputs[] = {input.get()};
        const char* outputs[] = {output.get()};
        const auto results = session.Run(Ort::RunOptions{nullptr}, inputs, &tensor, 1, outputs, 1);
        const auto info = results[0].GetTensorTypeAndShapeInfo();
        const auto* values = results[0].GetTensorData<float>();
        std::cout << output.get();
        for (size_t i = 0; i < info.GetElementCount(); ++i) std::cout << ' ' << values[i];
        std::cout << '\n';
        return 0;
    } catch (const Ort::Exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
