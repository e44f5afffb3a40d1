"""Input gradients, and what IGAM compares of them.

Source: IGAM, arXiv 1912.05699, section 3. Where its official code differs, an argument gives the code's form.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

# What is differentiated: the cross entropy (paper) or the true class's probability (code).
Differentiated = Literal["loss", "probability"]


def input_gradient(
    logits: Tensor, x: Tensor, y: Tensor, of: Differentiated = "loss", create_graph: bool = False
) -> Tensor:
    """[N,C,H,W]: the derivative, by every image, of its own loss or probability.

    Args:
        logits: [N,classes] of `x`, which requires a gradient. y: labels [N] int64.
        create_graph: whether the result can itself be differentiated, as a student's must.
    """
    if of == "loss":
        value = functional.cross_entropy(logits, y, reduction="sum")
    else:
        value = logits.softmax(1).gather(1, y[:, None]).sum()
    (gradient,) = torch.autograd.grad(value, x, create_graph=create_graph)
    return gradient


# The L2 norm below which the code divides a gradient by no smaller number (TensorFlow's 1e-12, of the square).
NORM_FLOOR = 1e-6


def normalized_gradient(gradient: Tensor, floor: float = NORM_FLOOR) -> Tensor:
    """[N,C,H,W], each sample centered over its pixels and channels, then of L2 norm 1 (a constant one: 0).

    floor: what a smaller norm counts as, so that a gradient below it stays shorter than 1. A confident student's is.
    """
    flat = gradient.flatten(1)
    centered = flat - flat.mean(1, keepdim=True)
    return functional.normalize(centered, dim=1, eps=floor).view_as(gradient)


def gradient_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared L2 distance of two input gradients [N,C,H,W], the mean over the images: a scalar."""
    return (student - teacher).square().flatten(1).sum(1).mean()


def discriminator_loss(discriminator: nn.Module, student: Tensor, teacher: Tensor, floor: float = NORM_FLOOR) -> Tensor:
    """Cross entropy of telling the student's input gradients (class 0) from the teacher's (class 1): a scalar.

    Both, [N,C,H,W], go through `discriminator` (to logits [2N,2]) in one batch, each normalized (see `floor` there).
    """
    both = normalized_gradient(torch.cat([student, teacher]), floor)
    truth = torch.arange(2, device=both.device).repeat_interleave(len(student))
    return functional.cross_entropy(discriminator(both), truth)
