// Adding operators to the domain that ONNX Runtime is given.
#pragma once

#include "onnxruntime/adapter.h"

namespace adroit::onnxruntime {

// The operator outlives every session: ONNX Runtime keeps pointers to it.
template <typename Operator>
void add(Ort::CustomOpDomain& domain) {
    static const CustomOperator<Operator> only;
    domain.Add(&only);
}

// One registration per type of X and of Y: ONNX Runtime picks the one whose types a node has.
template <template <bool, typename, typename> class Quantized>
void add_quantized(Ort::CustomOpDomain& domain) {
    add<Quantized<false, uint8_t, uint8_t>>(domain);
    add<Quantized<false, uint8_t, float>>(domain);
    add<Quantized<false, int8_t, int8_t>>(domain);
    add<Quantized<false, int8_t, float>>(domain);
    add<Quantized<true, uint8_t, uint8_t>>(domain);
    add<Quantized<true, uint8_t, float>>(domain);
    add<Quantized<true, int8_t, int8_t>>(domain);
    add<Quantized<true, int8_t, float>>(domain);
}

}  // namespace adroit::onnxruntime
