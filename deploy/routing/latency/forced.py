"""A session that runs any route on demand, so that a route can be measured without an image that takes it."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.routed import routing_space
from adroit.deploy.deployment.tensors import Tensors
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.passes.branch_on_gates import node_prefix
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UnsupportedModel
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace

FORCED = "forced"
# Larger than what gates compute: tanh of it is 1 in float32.
_CERTAIN = 1e4


class ForcedRuntime(OnnxRuntime):
    """A session on the `if` or masked form of a deployment whose gates are all 0 or 1, as each run sets them.

    The gates still compute what they otherwise compute, so a run takes the time of an image with that route.

    Raises:
        UnsupportedModel: a static or portable deployment, whose gates cannot be set.
        EnvironmentFault, UsageError: as open_runtime.
    """

    def __init__(self, deployment: Deployment, options: RuntimeOptions) -> None:
        self.deployment, self.space = deployment, routing_space(deployment)
        super().__init__(
            with_forced_gates(deployment.load_model(), self.space), options, bool(deployment.info.operators)
        )

    def feeds_along(self, images: NDArray[np.float32], route: Route) -> Tensors:
        """Returns the inputs for a batch of preprocessed images, [N,C,H,W], along `route`."""
        biases = np.where(route.open, _CERTAIN, -_CERTAIN).astype(np.float32)
        return {**self.deployment.feeds(images), FORCED: biases}


def with_forced_gates(model: onnx.ModelProto, space: RoutingSpace) -> onnx.ModelProto:
    """Returns a copy of `model` with one more input, [paths] float32, in place of the gates' last biases (b2).

    Raises:
        UnsupportedModel: a node of the space has no RoutingGate.
    """
    forced = onnx.ModelProto()
    forced.CopyFrom(model)
    biases = {node_prefix(at): f"{FORCED}.{at.name}" for at in space.nodes}
    replaced = set()
    for node in all_nodes(forced.graph):
        if node.op_type != "RoutingGate":
            continue
        (prefix,) = [prefix for prefix in biases if node.name.startswith(f"{prefix}.")]
        node.input[4] = biases[prefix]
        replaced.add(prefix)
    if replaced != set(biases):
        raise UnsupportedModel(
            "a route can be forced only on a deployment that has all its gates",
            facts={"nodes": len(biases), "nodes with a gate": len(replaced)},
            hint="export it with adroit's operators and --routing if or masked",
        )
    forced.graph.input.append(helper.make_tensor_value_info(FORCED, TensorProto.FLOAT, [len(space.paths)]))
    sizes = np.array([len(space.kinds(at)) for at in space.nodes], np.int64)
    forced.graph.initializer.append(onnx.numpy_helper.from_array(sizes, f"{FORCED}.sizes"))
    split = helper.make_node("Split", [FORCED, f"{FORCED}.sizes"], list(biases.values()), name=f"{FORCED}/Split")
    forced.graph.node.insert(0, split)
    return forced
