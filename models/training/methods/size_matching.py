"""A student's input as its teacher sees it: other statistics, another size. Differentiable.

Source: IGAM, arXiv 1912.05699: an affine map (resize, crop or pad) from the target's images to the teacher's,
through which the teacher's input gradient flows back to the target's pixels.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.data.pixels import Pixels

Matching = Literal["resize", "crop", "pad"]


def match_size(x: Tensor, size: tuple[int, int], how: Matching) -> Tensor:
    """[N,C,H,W] to [N,C,*size]: bilinear, from the center, or with zeros round it.

    Raises:
        UsageError: a crop that is larger than the images, or a padding that is smaller.
    """
    if how == "resize":
        return functional.interpolate(x, size, mode="bilinear", align_corners=False)
    more = [target - side for target, side in zip(size, x.shape[2:], strict=True)]
    wrong = [m for m in more if (m > 0 if how == "crop" else m < 0)]
    if wrong:
        raise UsageError(
            f"images of {x.shape[2]} x {x.shape[3]} pixels cannot become {size[0]} x {size[1]} by a {how}",
            hint="resize, or crop larger images and pad smaller ones",
        )
    top, left = more[0] // 2, more[1] // 2
    return functional.pad(x, [left, more[1] - left, top, more[0] - top])  # pads of below 0 crop


class TeacherInput:
    """Inputs of a student, [N,C,H,W], as inputs of a teacher, [N,C,*size].

    Args:
        student, teacher: their pixels. size: the teacher's height and width. how: see `match_size`.
    """

    def __init__(self, student: Pixels, teacher: Pixels, size: tuple[int, int], how: Matching) -> None:
        self._student, self._teacher, self._size, self._how = student, teacher, size, how

    def __call__(self, x: Tensor) -> Tensor:
        """Converts inputs [N,C,H,W] of the student to the teacher's, [N,C,*size]."""
        return match_size(self._teacher.inputs(self._student.shares(x)), self._size, self._how)
