"""The optimizer and the rate at each step."""

from __future__ import annotations

import math
from typing import Any

import torch

from adroit.models.training.tables import OptimizerRecipe


def rate_factor(settings: OptimizerRecipe, progress: float) -> float:
    """What is left of the learning rate when a share `progress`, 0 to 1, of the training is done."""
    epoch = progress * settings.epochs
    factors = {
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
        "poly": (1.0 - progress) ** 0.9,
        "step": 0.1 ** sum(epoch >= milestone for milestone in settings.milestones),
        "constant": 1.0,
    }
    growth = 1.0
    if epoch < settings.warm_up:
        growth = settings.warm_up_start + (1.0 - settings.warm_up_start) * epoch / settings.warm_up
    return growth * float(factors[settings.schedule])


def make_optimizer(settings: OptimizerRecipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Groups without parameters are left out; `full_rate` of each is what `set_rate` takes a share of."""
    groups = [{**group, "full_rate": group.get("lr", settings.learning_rate)} for group in groups if group["params"]]
    if settings.method == "adamw":
        return torch.optim.AdamW(groups, settings.learning_rate)
    return torch.optim.SGD(groups, settings.learning_rate, settings.momentum, nesterov=settings.nesterov)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's rate is `factor` times its full one."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * factor
