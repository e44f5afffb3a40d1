"""Adder layers' weight gradients, normalised once a step.

AdderNet's normalisation is not linear: a layer that does it in its backward pass normalises every part of
a batch by itself, so accumulated parts, or the mean over processes, are not the whole batch's gradient.
Here the layers leave it to the loop, which does it once the whole step's gradient is there: several
processes or parts then give what one process gives for the whole batch.
"""

from __future__ import annotations

import torch
from torch import nn

from models.layers import AdderConv2d
from models.operators.adder_conv2d import normalised


def defer_normalisation(network: nn.Module) -> list[AdderConv2d]:
    """Tells the adder layers to leave their gradient as it is, and returns them."""
    layers = [module for module in network.modules() if isinstance(module, AdderConv2d)]
    for layer in layers:
        layer.normalises = False
    return layers


def normalise_step(layers: list[AdderConv2d]) -> None:
    """Gives each layer's gradient the norm eta * sqrt(elements)."""
    with torch.no_grad():
        for layer in layers:
            if layer.weight.grad is not None:
                layer.weight.grad = normalised(layer.weight.grad, layer.eta)
