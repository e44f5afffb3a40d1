// What a case file says of a plugin: one node with its fields, its tensors and their shapes by
// formulas, and data to run it on. Lines of words; '#' starts a comment:
//
//   case NAME                                 starts a case
//   plugin NAME VERSION NAMESPACE             "-" is the empty namespace
//   field TYPE NAME VALUES...                 TYPE: int32 int64 float32 char chars (a word with and without its NUL)
//   input NAME TYPE SIZES...                  TYPE: float32 float16 int8 int32 int64 bool; SIZES: formulas
//   output NAME TYPE SIZES...
//   range SYMBOL FIRST LAST                   the values a symbol may take
//   divides SYMBOL BY                         only its multiples
//   exact                                     exactly these fields and types (any stray one is refused)
//   combinations N                            so many combinations of types and formats are supported
//   same TYPE NAME VALUES...                  a field given so makes the same plugin
//   also TYPE NAME VALUES...                  a further field that makes no difference
//   refused TYPE NAME VALUES...               a field given so makes none
//   misfit SIZES...                           input shapes that onShapeChange refuses, e.g. 1x3x8x8 4x2x3x3
//   run FOLDER TOLERANCE SYMBOL=VALUE...      FOLDER/<tensor>.bin are the inputs and the expected outputs
#pragma once

#include <string>
#include <vector>

#include "expressions.h"
#include "host.h"

namespace host {

// A field that owns its values.
struct Field {
    std::string name;
    nvinfer1::PluginFieldType type;
    int32_t length;
    std::vector<char> data;
};

struct Tensor {
    std::string name;
    nvinfer1::DataType type;
    std::vector<std::string> sizes;

    nvinfer1::Dims shape(const Sizes& sizes) const;
};

struct Range {
    int64_t first, last, step = 1;
};

struct Run {
    std::string folder;
    double tolerance;
    Sizes sizes;
};

struct Case {
    std::string name, plugin, version, plugin_namespace;
    std::vector<Field> fields, same, also, refused;
    std::vector<Tensor> inputs, outputs;
    std::map<std::string, Range> ranges;
    bool exact = false;
    int combinations = 0;  // 0: not said
    std::vector<std::vector<nvinfer1::Dims>> misfits;
    std::vector<Run> runs;

    // The values of all symbols, drawn with this seed.
    Sizes draw(uint32_t seed) const;
};

// Throws std::runtime_error with the line's number.
std::vector<Case> read_cases(const std::string& path);

// The fields as TensorRT hands them over. Valid as long as `fields` is.
class FieldCollection {
public:
    explicit FieldCollection(const std::vector<Field>& fields);
    const nvinfer1::PluginFieldCollection* get() const { return &collection_; }

private:
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

size_t element_size(nvinfer1::DataType type);
int64_t volume(const nvinfer1::Dims& dims);

// Descriptions of tensors of these sizes, kLINEAR.
std::vector<nvinfer1::PluginTensorDesc> described(const std::vector<Tensor>& tensors, const Sizes& sizes);
std::vector<nvinfer1::DynamicPluginTensorDesc> ranged(const std::vector<Tensor>& tensors, const Sizes& largest);

// The node's plugin, as the builder creates it; a failed check where there is none.
Plugin create(Checks& checks, const Library& library, const Case& node);

// Everything a plugin serializes, as one comparable text.
std::string serialized(nvinfer1::IPluginV3OneRuntime& runtime);

void check_metadata(Checks& checks, const Library& library, const std::vector<Case>& cases);
void check_fields(Checks& checks, const Library& library, const Case& node, int mutations);
void check_shapes(Checks& checks, const Library& library, const Case& node);
void check_formats(Checks& checks, const Library& library, const Case& node);
void check_lifecycle(Checks& checks, const Library& library, const Case& node);
// `host_memory`: the library's kernels run on the CPU. Else on the GPU; false where there is none.
bool check_enqueue(Checks& checks, const Library& library, const Case& node, bool host_memory);
// Why nothing can be run on a GPU here; empty where it can.
std::string no_gpu_reason();

}  // namespace host
