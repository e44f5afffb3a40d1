"""A network that is made step by step, each computed as it is added."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

CHANNELS, SIZE = 3, (11, 14)
LARGEST, ELEMENTS = 1e4, 40_000

# Values of one place in the network: its index in RandomNetwork's list, and what it was at the example.
Place = tuple[int, Tensor]


class RandomNetwork(nn.Module):
    """Runs `plan`: for each step, which module computes and which earlier values it reads; value 0 is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        self.plan: list[tuple[int, tuple[int, ...]]] = []
        self.outputs: list[int] = []

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = [x]
        for step, reads in self.plan:
            values.append(self.steps[step](*(values[index] for index in reads)))
        return tuple(values[index] for index in self.outputs)


class Maker:
    """Adds steps to a network, and keeps what each gives at an example image."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        self.made = RandomNetwork().eval()
        self.places: list[Place] = [(0, torch.randn(4, CHANNELS, *SIZE))]

    def flip(self) -> bool:
        return self.choose.random() < 0.5

    def recent(self) -> Place:
        """Mostly the last value, else any."""
        return self.places[-1] if self.choose.random() < 0.7 else self.choose.choice(self.places)

    def add(self, module: nn.Module, *places: Place) -> Place | None:
        """Adds a step and returns its value, or None where that is not usable."""
        self.made.steps.append(module.eval())
        return self.call(len(self.made.steps) - 1, *places, settle=True)

    def call(self, step: int, *places: Place, settle: bool = False) -> Place | None:
        """Calls the module of a step that is there already, where its value is usable."""
        module = self.made.steps[step]
        tensors = [tensor for _, tensor in places]
        if settle:
            self.settle(module, tensors)
        value = module(*tensors)
        spread = float(value.std())
        if not (spread > 1e-3 and float(value.abs().max()) < LARGEST) or value.numel() > ELEMENTS:
            return None
        self.made.plan.append((step, tuple(index for index, _ in places)))
        place = (len(self.made.plan), value)
        self.places.append(place)
        return place

    def settle(self, module: nn.Module, tensors: list[Tensor]) -> None:
        """Gives the batch norms in `module` statistics that are near those of the values, and random factors."""
        norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = None  # the mean of what it sees
            norm.train()
        if norms:
            module(*tensors)
        for norm in norms:
            norm.eval()
            if norm.affine:
                nn.init.normal_(norm.weight, 1.0, 0.4)
                norm.weight[torch.rand(norm.num_features) < 0.2] *= -1.0
                nn.init.normal_(norm.bias, 0.0, 0.4)
            if norm.running_mean is None or norm.running_var is None:
                continue
            norm.running_mean += norm.running_var.sqrt() * torch.randn(norm.num_features) * 0.3
            norm.running_var *= torch.empty(norm.num_features).uniform_(0.5, 2.0)
