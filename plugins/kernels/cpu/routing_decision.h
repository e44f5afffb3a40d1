// What the gates of a layer of routed nodes decide (Dynamic Routing, arXiv 2003.10401, section 3.3, with
// the official code's rule that a node is closed where its gates sum to less than 1e-4).
//
// For each sample: a node is opened where it is live and the gates of its paths sum to 1e-4 or more; the
// gates of other nodes count as 0. With the row of states (gates that count | opened | closed | live):
//   reached = states * reach > 0,   flags = any sample's states * shown > 0
// so that the caller says, by two matrices, what follows for the next layer and which flags it wants.
#pragma once

#include "kernels/shapes.h"

namespace adroit::cpu {

// All [rows, columns]. belongs: [paths, nodes], 1 where a path is of a node, else 0.
struct RoutingDecisionInputs {
    const float* gates;    // [batch, paths]
    const float* live;     // [batch, nodes], above 0 where something reaches the node
    const float* belongs;  // [paths, nodes]
    const float* reach;    // [states, reached]
    const float* shown;    // [states, flags]
};

struct RoutingDecisionOutputs {
    float* counted;  // [batch, paths]: the gates that count
    float* opened;   // [batch, nodes], 1 or 0
    float* reached;  // [batch, reached], 1 or 0
    bool* flags;     // [flags]
};

void routing_decision(const RoutingDecisionShape& shape, const RoutingDecisionInputs& in,
                      const RoutingDecisionOutputs& out);

}  // namespace adroit::cpu
