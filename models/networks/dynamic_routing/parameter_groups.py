"""How fast which parameter learns: the official recipe."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(
    network: nn.Module, learning_rate: float, weight_decay: float, gate_multiplier: float = 1.0
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer: gates learn `gate_multiplier` times as fast, norms do not decay.

    The official multiplier is 2.5 with ImageNet-pretrained weights, and 1 from scratch.

    Every parameter is in exactly one group; groups that would be empty are left out.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        is_norm = name.endswith(("norm.weight", "norm.bias"))
        groups.setdefault(("gate_conv" in name, is_norm), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (gate_multiplier if is_gate else 1.0),
            "weight_decay": 0.0 if is_norm else weight_decay,
        }
        for (is_gate, is_norm), parameters in groups.items()
    ]
