"""A student's images as its teacher sees them, and gradients back through that."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adroit.errors import UsageError
from adroit.models.data.pixels import Pixels
from adroit.models.data.preprocessing import CIFAR10, IMAGENET
from adroit.models.training.methods.size_matching import Matching, TeacherInput, match_size


def test_each_way_on_a_small_example() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(match_size(x, (2, 2), "crop"), x[:, :, 1:3, 1:3])
    padded = match_size(x, (7, 6), "pad")
    assert torch.equal(padded[:, :, 1:5, 1:5], x) and float(padded.sum()) == float(x.sum())
    torch.testing.assert_close(match_size(x, (2, 2), "resize"), torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]))


@pytest.mark.parametrize(("how", "size"), [("resize", (16, 12)), ("crop", (6, 5)), ("pad", (13, 11))])
def test_it_is_affine_and_differentiable(how: Matching, size: tuple[int, int]) -> None:
    to_teacher = TeacherInput(Pixels(CIFAR10), Pixels(IMAGENET), size, how)
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert to_teacher(x).shape == (1, 3, *size)
    assert torch.autograd.gradcheck(to_teacher, (x,))
    one, other = torch.randn(2, 1, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(to_teacher(0.3 * one + 0.7 * other), 0.3 * to_teacher(one) + 0.7 * to_teacher(other))


def test_the_teacher_gets_its_own_statistics() -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    x = torch.from_numpy(CIFAR10.values(values))
    result = TeacherInput(Pixels(CIFAR10), Pixels(IMAGENET), (32, 32), "crop")(x)
    torch.testing.assert_close(result, torch.from_numpy(IMAGENET.values(values)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("how", "size"), [("crop", (9, 4)), ("pad", (9, 4))])
def test_the_wrong_way_is_refused(how: Matching, size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=f"8 x 8 pixels cannot become 9 x 4 by a {how}"):
        match_size(torch.zeros(1, 3, 8, 8), size, how)
