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
template <template <bool, typename, typename> class Quantised>
void add_quantised(Ort::CustomOpDomain& domain) {
    add<Quantised<false, uint8_t, uint8_t>>(domain);
    add<Quantised<false, uint8_t, float>>(domain);
    add<Quantised<false, int8_t, int8_t>>(domain);
    add<Quantised<false, int8_t, float>>(domain);
    add<Quantised<true, uint8_t, uint8_t>>(domain);
    add<Quantised<true, uint8_t, float>>(domain);
    add<Quantised<true, int8_t, int8_t>>(domain);
    add<Quantised<true, int8_t, float>>(domain);
}

}  // namespace adroit::onnxruntime
