"""In a float64 run nothing is rounded to float32 on the way, operator by operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deploy.reference.conftest import capture_image

Step = Callable[[Tensor], Tensor]


class Network(nn.Module):
    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x)


def wide(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64)


# What a user writes, and the same with every number in float64.
STEPS: dict[str, tuple[Step, Step]] = {
    "integers times a fraction": (
        lambda x: x + torch.arange(x.shape[3]) * 0.1,
        lambda x: x + wide(x.shape[3]) * 0.1,
    ),
    "a norm with the epsilon of its type": (
        lambda x: F.rms_norm(x * 1e-4, (x.shape[3],)),
        lambda x: F.rms_norm(x * 1e-4, (x.shape[3],), eps=torch.finfo(torch.float32).eps),
    ),
    "integers divided": (lambda x: x + torch.arange(x.shape[3]) / 7, lambda x: x + wide(x.shape[3]) / 7),
    "integers divided by integers": (
        lambda x: x * (torch.arange(x.shape[3]) / torch.full((x.shape[3],), 7)),
        lambda x: x * (wide(x.shape[3]) / 7.0),
    ),
    "root of integers": (
        lambda x: x * torch.arange(x.shape[3]).sqrt(),
        lambda x: x * wide(x.shape[3]).sqrt(),
    ),
    "a step of a fraction": (
        lambda x: x + torch.arange(0, 2.0, 0.1),
        lambda x: x + torch.arange(0, 2.0, 0.1, dtype=torch.float64),
    ),
    "arange in float32": (
        lambda x: x + torch.arange(x.shape[3], dtype=torch.float32) * 0.1,
        lambda x: x + wide(x.shape[3]) * 0.1,
    ),
    "linspace": (
        lambda x: x * torch.linspace(-1, 1, 20),
        lambda x: x * torch.linspace(-1, 1, 20, dtype=torch.float64),
    ),
    "full of a fraction": (lambda x: x * torch.full((20,), 0.1), lambda x: x * 0.1),
    "a new tensor of a fraction": (lambda x: x * x.new_full((20,), 0.1), lambda x: x * 0.1),
    "full like": (lambda x: x * torch.full_like(x, 0.1), lambda x: x * 0.1),
    "where of two fractions": (
        lambda x: x * torch.where(x > 0, 0.1, 0.7),
        lambda x: x * torch.where(x > 0, torch.tensor(0.1).double() * 0 + 0.1, torch.tensor(0.0).double() + 0.7),
    ),
    "where of integers and a fraction": (
        lambda x: x * torch.where(x > 0, torch.arange(20), 0.7),
        lambda x: x * torch.where(x > 0, wide(20), 0.7),
    ),
    "a mask times a fraction": (lambda x: x + (x > 0) * 0.1, lambda x: x + (x > 0).double() * 0.1),
    "mask to float": (lambda x: x + (x > 0).float() * 0.1, lambda x: x + (x > 0).double() * 0.1),
    "cast to float32 and back": (
        lambda x: (x.float() * 0.1).to(x.dtype),
        lambda x: x * 0.1,
    ),
    "cast to float32 by name": (lambda x: x.to(torch.float32).exp(), lambda x: x.exp()),
    "cast to half": (lambda x: (x.half() * 0.5).float(), lambda x: x * 0.5),
    "type as": (lambda x: x + torch.arange(20).type_as(x) * 0.1, lambda x: x + wide(20) * 0.1),
    "softmax in float32": (
        lambda x: F.softmax(x, dim=1, dtype=torch.float32),
        lambda x: F.softmax(x, dim=1),
    ),
    "mean in float32": (
        lambda x: x - x.mean(1, keepdim=True, dtype=torch.float32),
        lambda x: x - x.mean(1, keepdim=True),
    ),
    "sum of a mask in float32": (
        lambda x: x / (1 + (x > 0).sum(1, keepdim=True, dtype=torch.float32)),
        lambda x: x / (1 + (x > 0).sum(1, keepdim=True, dtype=torch.float64)),
    ),
    "cumulated mask": (
        lambda x: x * (x > 0).cumsum(3, dtype=torch.float32).mul(0.1),
        lambda x: x * (x > 0).cumsum(3, dtype=torch.float64).mul(0.1),
    ),
    "sines of positions": (
        lambda x: x + torch.exp(torch.arange(20) * -0.3).sin(),
        lambda x: x + torch.exp(wide(20) * -0.3).sin(),
    ),
    "sizes as numbers": (lambda x: x * (x.shape[2] / x.shape[3]), lambda x: x * (16 / 20)),
    "eye and tril": (
        lambda x: x @ (torch.eye(20) * 0.1) + torch.ones(20, 20).tril()[0] * 0.1,
        lambda x: x @ (torch.eye(20).double() * 0.1) + torch.ones(20, 20).double().tril()[0] * 0.1,
    ),
    "one hot": (
        lambda x: x + F.one_hot(torch.arange(20), 20).float().mean(0) * 0.1,
        lambda x: x + F.one_hot(torch.arange(20), 20).double().mean(0) * 0.1,
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_constant_follows_the_type_of_the_run(name: str) -> None:
    step, exact = STEPS[name]
    network = Network(step).eval()
    program = capture_image(network, torch.zeros(2, 3, 16, 20)) if "sizes" in name else _fixed(network)
    x = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.equal(program(x)["output0"], network(x))
        assert torch.equal(program.double()(x)["output0"], exact(x.double()))


def _fixed(network: nn.Module):  # type: ignore[no-untyped-def]
    from adroit.deploy.reference.capture import CapturedInput, capture

    return capture(network, [CapturedInput("image", torch.zeros(2, 3, 16, 20), {0: "batch"})])
