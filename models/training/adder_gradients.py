"""Adder layers' weight gradients, normalized once a step.

AdderNet's normalization is not linear: a layer that does it in its backward pass normalizes every part of
a batch by itself, so accumulated parts, or the mean over processes, are not the whole batch's gradient.
Here the layers leave it to the loop, which does it once the whole step's gradient is there: several
processes or parts then give what one process gives for the whole batch.
"""

from __future__ import annotations

import torch
from torch import nn

from adroit.models.layers.adder import AdderConv2d
from adroit.models.operators.adder_conv2d import normalized


def defer_normalization(network: nn.Module) -> list[AdderConv2d]:
    """Tells the adder layers to leave their gradient as it is, and returns them."""
    layers = [module for module in network.modules() if isinstance(module, AdderConv2d)]
    for layer in layers:
        layer.normalizes = False
    return layers


def normalize_step(layers: list[AdderConv2d]) -> None:
    """Gives each layer's gradient the norm eta * sqrt(elements)."""
    with torch.no_grad():
        for layer in layers:
            if layer.weight.grad is not None:
                layer.weight.grad = normalized(layer.weight.grad, layer.eta)
