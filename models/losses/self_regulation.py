"""Self-regulation: the exits of a network teach each other, the shallow ones details, the deep ones classes.

Source: "Self-Regulation for Semantic Segmentation", arXiv 2108.09702. A network of N blocks gets an exit after
each (models/training/methods/exits.py), and

    total = 0.2 * L_cls + 0.8 * L_seg + 1.0 * (SR-F + SR-L)

    L_cls, L_seg   multi-exit loss: which classes are in the image, and the class of every pixel, at every exit
    SR-F           features of exit 1 teach those of exits 2 to N
    SR-L           classification logits of exit N teach those of exits 1 to N - 1

where to teach is - sum_j t_j^(1/tau) log s_j^(1/tau) with normalized vectors t and s, summed over students.

Not known to us, and chosen here: tau is 1; t and s are softmaxes over the channels, normalized again after the
power; positions and samples are averaged, and smaller maps resized to the teacher's; the logits of SR-L are
those of the image; the teacher gets no gradient; the first quarter of the training is L_cls and L_seg only (as
the official code's README says of its 40,000 iterations; its script does not). Each is a field of
SelfRegulationSettings or an argument.

The official code differs (form "code"): SR-F is the cross entropy of every other exit's pixels with exit 1's most
likely class, SR-L the binary cross entropy of the images' class probabilities, and there is no temperature. Its
training in evaluation mode, and its void pixels that count as background, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from adroit.models.losses.precision import in_float32

Normalization = Callable[[Tensor], Tensor]
_LEAST = 1e-6

# Logarithms of normalized vectors over dimension 1. "sum" divides what is above 0 by its sum.
NORMALIZATIONS: Mapping[str, Normalization] = {
    "softmax": lambda x: x.log_softmax(1),
    "sum": lambda x: (x.relu() + _LEAST).log() - (x.relu() + _LEAST).sum(1, keepdim=True).log(),
}


@dataclass(frozen=True)
class ExitAnswers:
    """What one exit says, exit 1 being the shallowest.

    Attributes:
        features: [N,M,h,w]; M is the same at every exit.
        pixels: [N,classes,H,W] logits at the labels' size; None where the task is one class for an image.
        image: [N,classes] logits.
    """

    features: Tensor
    pixels: Tensor | None
    image: Tensor

    @property
    def of_pixels(self) -> Tensor:
        """`pixels`, where the task has them."""
        assert self.pixels is not None, "an exit of a classification network has no pixels"
        return self.pixels


def present_classes(labels: Tensor, classes: int) -> Tensor:
    """[N,classes] float32: 1 where a class occurs in the sample's label map [N,H,W]; void is no class."""
    return torch.stack([(labels == k).flatten(1).any(1) for k in range(classes)], dim=1).float()


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignored: int | None) -> Tensor:
    """Mean over the pixels whose label counts; 0, not NaN, where none does. [N,classes,H,W] and [N,H,W]."""
    # A label below 0 never occurs: with nothing to ignore, all count.
    ignored = -1 if ignored is None else ignored
    total = functional.cross_entropy(in_float32(logits), labels, ignore_index=ignored, reduction="sum")
    return total / (labels != ignored).sum().clamp(min=1)


def tempered_cross_entropy(
    teacher: Tensor, student: Tensor, temperature: float = 1.0, normalization: str = "softmax", literal: bool = False
) -> Tensor:
    """- sum_j t_j^(1/tau) log s_j^(1/tau), the mean over samples and positions.

    Args:
        teacher, student: [N,M] or [N,M,h,w], not normalized.
        literal: the powers are taken as they are; if not, they are normalized again, as in distillation.
    """
    log_t, log_s = (NORMALIZATIONS[normalization](in_float32(x)) / temperature for x in (teacher, student))
    if not literal:
        log_t, log_s = log_t.log_softmax(1), log_s.log_softmax(1)
    return -(log_t.exp() * log_s).sum(1).mean()


def teaching(
    teacher: Tensor, student: Tensor, temperature: float = 1.0, normalization: str = "softmax", literal: bool = False
) -> Tensor:
    """The tempered cross entropy less the teacher's with itself: the same gradient, and 0 at equality.

    The teacher gets no gradient. A student of another size is resized to the teacher's.
    """
    teacher = teacher.detach()
    if student.shape[2:] != teacher.shape[2:]:
        student = functional.interpolate(student, teacher.shape[2:], mode="bilinear", align_corners=False)
    minimum = tempered_cross_entropy(teacher, teacher, temperature, normalization, literal)
    return tempered_cross_entropy(teacher, student, temperature, normalization, literal) - minimum


def shallow_to_deep(
    exits: Sequence[ExitAnswers], temperature: float = 1.0, normalization: str = "softmax", literal: bool = False
) -> Tensor:
    """SR-F: exit 1's features teach all others'."""
    first, *others = (answers.features for answers in exits)
    return torch.stack([teaching(first, s, temperature, normalization, literal) for s in others]).sum()


def deep_to_shallow(
    exits: Sequence[ExitAnswers], temperature: float = 1.0, literal: bool = False, of_pixels: bool = False
) -> Tensor:
    """SR-L: the last exit's logits teach all others', those of the image or those of its pixels."""
    *others, last = (answers.of_pixels if of_pixels else answers.image for answers in exits)
    return torch.stack([teaching(last, s, temperature, literal=literal) for s in others]).sum()


def shallow_to_deep_hard(exits: Sequence[ExitAnswers]) -> Tensor:
    """SR-F of the official code: exit 1's most likely class of each pixel is the label of all others'."""
    first, *others = (answers.of_pixels for answers in exits)
    labels = first.argmax(1)
    return torch.stack([functional.cross_entropy(student, labels) for student in others]).sum()


def deep_to_shallow_binary(exits: Sequence[ExitAnswers]) -> Tensor:
    """SR-L of the official code: each class's probability at the last exit is the target of all others'."""
    *others, last = (answers.image for answers in exits)
    scores = last.detach().sigmoid()
    return torch.stack([functional.binary_cross_entropy_with_logits(student, scores) for student in others]).sum()
