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

// Which provider an operator is registered for: its own. Tests register operators for CUDA on another one.
template <typename Operator>
using AsIs = Operator;

// One registration per type of X and of Y: ONNX Runtime picks the one whose types a node has.
template <template <typename> class On, template <bool, typename, typename> class Quantized>
void add_quantized(Ort::CustomOpDomain& domain) {
    add<On<Quantized<false, uint8_t, uint8_t>>>(domain);
    add<On<Quantized<false, uint8_t, float>>>(domain);
    add<On<Quantized<false, int8_t, int8_t>>>(domain);
    add<On<Quantized<false, int8_t, float>>>(domain);
    add<On<Quantized<true, uint8_t, uint8_t>>>(domain);
    add<On<Quantized<true, uint8_t, float>>>(domain);
    add<On<Quantized<true, int8_t, int8_t>>>(domain);
    add<On<Quantized<true, int8_t, float>>>(domain);
}

}  // namespace adroit::onnxruntime
