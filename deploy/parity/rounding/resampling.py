"""Rules of interpolation between neighbors.

Where between two neighbors a pixel lies is computed in float32 too: the coordinate's error, relative to the size of
the map, is an error of the weights, and moves the result by as much times the difference of the neighbors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from adroit.deploy.parity.rounding.call import Call, Rounding, Rule

_TERMS = 4
# The sum of the absolute weights of a bicubic interpolation is below this along each axis.
_CUBIC_WEIGHTS = 1.4
_ZEROS, _NEAREST, _CUBIC = 0, 1, 2  # of grid_sampler_2d


def _largest_near(x: Tensor, radii: Sequence[int]) -> Tensor:
    """Returns the largest absolute value within so many pixels along each axis after channels."""
    largest = x.abs()
    for axis, radius in enumerate(radii, start=2):
        moved = largest.movedim(axis, -1)
        flat = moved.reshape(1, -1, moved.shape[-1])
        largest = functional.max_pool1d(flat, 2 * radius + 1, 1, radius).view(moved.shape).movedim(-1, axis)
    return largest


def _coordinate_error(sizes: Sequence[int]) -> float:
    """Returns 1 for the sum of weighted values, and for each axis one unit of its size, in shares of 4 units."""
    return 1 + sum(sizes) / 4


def _radii(x: Tensor, result: Tensor, cubic: bool, antialias: bool) -> list[int]:
    reach = 2 if cubic else 1
    if not antialias:
        return [reach] * (x.dim() - 2)
    ratios = (max(1.0, a / b) for a, b in zip(x.shape[2:], result.shape[2:], strict=True))
    return [min(size, math.ceil(reach * ratio) + 1) for ratio, size in zip(ratios, x.shape[2:], strict=True)]


def _upsampled(cubic: bool = False, antialias: bool = False) -> Rule:
    def rounding(call: Call) -> Rounding:
        x, result = call.first, call.result
        near = _largest_near(x, _radii(x, result, cubic, antialias))
        # The nearest pixel with corners aligned is up to one further: it lies within the radius too.
        magnitude = functional.interpolate(near, result.shape[2:], mode="nearest")
        if call.arguments.get("align_corners"):
            magnitude = torch.maximum(magnitude, _aligned(near, result.shape[2:]))
        weights = _CUBIC_WEIGHTS ** (x.dim() - 2) if cubic else 1.0
        return magnitude * weights * _coordinate_error(x.shape[2:]), _TERMS

    def exact(call: Call) -> Tensor:
        """A map that keeps its size is copied."""
        return torch.full_like(call.result, call.first.shape == call.result.shape, dtype=torch.bool)

    return Rule(rounding, exact)


def _aligned(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Returns the pixels nearest to a grid whose corners are the map's."""
    for axis, size in enumerate(sizes, start=2):
        places = torch.linspace(0, x.shape[axis] - 1, size).round().long() if size > 1 else torch.zeros(1).long()
        x = x.index_select(axis, places)
    return x


def _grid_sampled(call: Call) -> Rounding:
    x, grid = call["input"], call["grid"]
    cubic = call["interpolation_mode"] == _CUBIC
    spatial = x.shape[2:]
    near = _largest_near(x, [2 if cubic else 1] * len(spatial))
    padding = "border" if call["padding_mode"] == _ZEROS else ("zeros", "border", "reflection")[call["padding_mode"]]
    sampled = functional.grid_sample(near, grid, "nearest", padding, call["align_corners"])
    weights = _CUBIC_WEIGHTS ** len(spatial) if cubic else 1.0
    return sampled * weights * _coordinate_error(spatial), _TERMS


def _grid_sample_is_exact(call: Call) -> Tensor:
    """Far outside the map there are zeros; a nearest pixel is chosen."""
    result, grid = call.result, call["grid"]
    if call["interpolation_mode"] == _NEAREST:
        return torch.ones_like(result, dtype=torch.bool)
    if call["padding_mode"] != _ZEROS:
        return torch.zeros_like(result, dtype=torch.bool)
    outside: Tensor = grid.abs() > 1 + 6 / min(call["input"].shape[2:])
    return outside.any(-1).unsqueeze(1).expand_as(result)


RULES: Mapping[str, Rule] = {
    **{f"upsample_{name}": _upsampled() for name in ("linear1d", "bilinear2d", "trilinear3d")},
    "upsample_bicubic2d": _upsampled(cubic=True),
    "_upsample_bilinear2d_aa": _upsampled(antialias=True),
    "_upsample_bicubic2d_aa": _upsampled(cubic=True, antialias=True),
    **{f"grid_sampler_{n}d": Rule(_grid_sampled, _grid_sample_is_exact) for n in (2, 3)},
}
