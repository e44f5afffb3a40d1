"""Gate values before a threshold closes them, which no deployment outputs: PyTorch computes them."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.routed import routing_space
from adroit.deploy.routing.collect import BATCH, Progress, check_gated
from adroit.models.data.images import ImageSet


def gate_values(
    deployment: Deployment,
    images: ImageSet,
    gate_threshold: float = 0.0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Computes the gate values of images in the PyTorch network that `deployment` was exported from.

    A path is open where its value is above 0 and the threshold, and its node is reached.

    Args:
        gate_threshold: what closes earlier paths, and so decides what later gates see.
        threads: of PyTorch, for the whole process.

    Returns:
        tanh of each gate, -1 to 1, [images,paths].

    Raises:
        UsageError: a deployment without gates or without its reference, or images that it does not take.
    """
    import torch

    from adroit.deploy.runtimes.torch_runtime import load_reference
    from adroit.models.networks.dynamic_routing.gate import SoftGate
    from adroit.models.networks.dynamic_routing.network import DynamicRouting

    check_gated(deployment)
    if threads is not None:
        torch.set_num_threads(threads)
    network = load_reference(deployment)
    assert isinstance(network, DynamicRouting)
    seen: dict[SoftGate, torch.Tensor] = {}

    def keep(gate: SoftGate, inputs: tuple[Any, ...]) -> None:
        seen[gate] = gate.values(inputs[0])

    gates = [network.backbone.node(at).gate_conv_beta for at in routing_space(deployment).nodes]
    threshold = torch.tensor([deployment.baked_threshold or gate_threshold])
    batches = []
    with contextlib.ExitStack() as stack, torch.inference_mode():
        for gate in gates:
            stack.callback(gate.register_forward_pre_hook(keep).remove)
        for where, x in images.batches(deployment.preprocessing, BATCH):
            deployment.feeds(x)  # refuses sizes that the network does not take
            network(torch.from_numpy(x), threshold)
            batches.append(torch.cat([seen[gate] for gate in gates], 1).numpy())
            if progress:
                progress(where.stop, len(images))
    return np.concatenate(batches)
