"""Training on a GPU: operators and their gradients by torch's CUDA operations against float64 on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from adroit.models.networks.architectures import build_network
from adroit.models.operators.adaptive_filter import adaptive_filter
from adroit.models.operators.adder_conv2d import adder_conv2d

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no NVIDIA GPU here")
Operator = Callable[[Tensor, Tensor], Tensor]


def _outputs(operator: Operator, inputs: tuple[Tensor, Tensor], gradient: Tensor) -> list[Tensor]:
    """The output and the gradients by both inputs, float64 on the CPU."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    output = operator(*leaves)
    output.backward(gradient)
    return [each.double().cpu() for each in (output.detach(), *(leaf.grad for leaf in leaves))]


@pytest.mark.parametrize(
    ("operator", "x", "other", "output"),
    [
        (lambda x, w: adder_conv2d(x, w, 1, 1), (4, 16, 14, 14), (32, 16, 3, 3), (4, 32, 14, 14)),
        (lambda x, w: adder_conv2d(x, w, 2, 1), (2, 20, 9, 7), (5, 20, 3, 3), (2, 5, 5, 4)),
        (lambda x, logits: adaptive_filter(x, logits, 3, 2, 8, False), (2, 16, 15, 13), (2, 72, 8, 7), (2, 16, 8, 7)),
    ],
    ids=["adder", "adder, stride 2", "adaptive filter"],
)
def test_gradients(operator: Operator, x: tuple[int, ...], other: tuple[int, ...], output: tuple[int, ...]) -> None:
    source = torch.Generator().manual_seed(0)
    inputs = (torch.randn(x, generator=source), torch.randn(other, generator=source))
    gradient = torch.randn(output, generator=source)
    expected = _outputs(operator, (inputs[0].double(), inputs[1].double()), gradient.double())
    found = _outputs(operator, (inputs[0].cuda(), inputs[1].cuda()), gradient.cuda())
    for got, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(got, exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_an_adder_network_learns(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    network = build_network("adder-resnet20", {}).cuda().train()
    images, labels = torch.randn(16, 3, 32, 32).cuda(), torch.arange(16).cuda() % 10
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    losses = []
    for _ in range(20):
        with torch.autocast("cuda", precision, enabled=precision != torch.float32):
            loss = functional.cross_entropy(network(images).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
