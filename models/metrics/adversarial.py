"""Attacks within a small distance of every pixel, and the accuracy that is left under them.

Sources: FGSM, arXiv 1412.6572; PGD, arXiv 1706.06083, both in the maximum norm. The figures of IGAM's evaluation
(arXiv 1912.05699) are distance 8 of 255, FGSM by one step of 8 without a random start, and PGD by steps of 2 with one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.data.pixels import Pixels


@dataclass(frozen=True)
class Attack:
    """Projected gradient ascent on the signs of the loss's gradient.

    Attributes:
        epsilon: the largest change of a pixel value; step: of one step; both of 0 to 255.
        steps: how many. random_start: whether it starts anywhere within epsilon, or at the image.
        restarts: an image counts as right where it is right after each of so many attacks.
    """

    epsilon: float = 8.0
    step: float = 2.0
    steps: int = 20
    random_start: bool = True
    restarts: int = 1


def fgsm(epsilon: float = 8.0) -> Attack:
    """The fast gradient sign method: one step to the ball's border."""
    return Attack(epsilon, epsilon, 1, random_start=False)


def perturbed(
    loss: Callable[[Tensor], Tensor],
    x: Tensor,
    attack: Attack,
    pixels: Pixels,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Inputs near `x` of a larger loss, within epsilon of every pixel and of pixel values 0 to 255; detached.

    Args:
        loss: inputs [N,C,H,W] to a scalar that is a sum over the images. x: preprocessed.
        pixels: of the network's preprocessing. generator: draws the start.
    """
    reach = attack.epsilon * pixels.unit.to(x)
    low, high = (x - reach).maximum(pixels.low.to(x)), (x + reach).minimum(pixels.high.to(x))
    perturbed = x.detach()
    if attack.random_start:
        draws = torch.rand(x.shape, generator=generator).to(x)
        perturbed = (perturbed + (2.0 * draws - 1.0) * reach).clamp(low, high)
    with torch.enable_grad():
        for _ in range(attack.steps):
            perturbed.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(perturbed), perturbed)
            perturbed = (perturbed.detach() + attack.step * pixels.unit.to(x) * gradient.sign()).clamp(low, high)
    return perturbed.detach()


def attacked(
    network: nn.Module, x: Tensor, y: Tensor, attack: Attack, pixels: Pixels, generator: torch.Generator | None = None
) -> Tensor:
    """`perturbed` by the cross entropy of `network`'s logits and the labels `y` [N], in the mode that it is in."""
    return perturbed(
        lambda inputs: functional.cross_entropy(network(inputs), y, reduction="sum"), x, attack, pixels, generator
    )


# Of inputs [n,C,H,W], labels [n] and a generator: the inputs as an attack changes them.
Hostile = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def right_under(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], hostile: Hostile, seed: int = 0, restarts: int = 1
) -> Tensor:
    """[N] bool: whether each image is still right after `hostile`; leaves `network` in evaluation mode.

    The images may be made with another network's gradients: an attack that is transferred.

    Args:
        batches: inputs [n,C,H,W] and labels [n]. seed: of what `hostile` draws. restarts: as in Attack.

    Raises:
        UsageError: no image.
    """
    network.eval()
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    rights = []
    for x, y in ((x.to(device), y.to(device)) for x, y in batches):
        right = torch.ones(len(y), dtype=torch.bool)
        for _ in range(restarts):
            changed = hostile(x, y, generator)
            with torch.inference_mode():
                right &= (network(changed).argmax(1) == y).cpu()
        rights.append(right)
    if not rights:
        raise UsageError("robust accuracy was given no images")
    return torch.cat(rights)


def robust_accuracy(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], attack: Attack, pixels: Pixels, seed: int = 0
) -> float:
    """Share (0 to 1) of the images that are still right when each is attacked by its own gradients; see `right_under`.

    Args:
        pixels: of the network's preprocessing.
    """

    def hostile(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        return attacked(network, x, y, attack, pixels, generator)

    return float(right_under(network, batches, hostile, seed, attack.restarts).double().mean())
