"""Optimization profiles of an engine, and which of them takes the shapes of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adroit.deploy.deployment.builds import Range, Shape
from adroit.deploy.deployment.records import Record
from adroit.errors import UsageError


class Profile(Record, frozen=True):
    """A named set of ranges, one for each input."""

    name: str
    ranges: Mapping[str, Range]


def choose_profile(profiles: Sequence[Profile], shapes: Mapping[str, Shape], built: str) -> int:
    """Index of the profile to run `shapes` with: of those that hold them, the one whose opt is nearest.

    Args:
        built: the command that built the engine, for the hint.

    Raises:
        UsageError: no profile holds them: what was got, what each allows.
    """
    fitting = [i for i, p in enumerate(profiles) if all(p.ranges[name].holds(s) for name, s in shapes.items())]
    if not fitting:
        raise UsageError(
            "the engine has no profile for these shapes",
            facts={
                "got": ", ".join(f"{name} {_text(shape)}" for name, shape in shapes.items()),
                **{f"profile {p.name}": _allowed(p) for p in profiles},
                "nearest": profiles[min(range(len(profiles)), key=lambda i: _outside(profiles[i], shapes))].name,
            },
            hint=f"run shapes within a profile, or add one: {built} --profile NAME=INPUT:MIN,OPT,MAX",
        )
    return min(fitting, key=lambda i: _distance(profiles[i], shapes))


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _allowed(profile: Profile) -> str:
    return ", ".join(f"{name} {_text(r.min)} to {_text(r.max)}" for name, r in profile.ranges.items())


def _distance(profile: Profile, shapes: Mapping[str, Shape]) -> float:
    """How far the shapes are from the profile's opt: the product of the dimensions' ratios, each 1 or more."""
    product = 1.0
    for name, shape in shapes.items():
        for size, usual in zip(shape, profile.ranges[name].opt, strict=True):
            product *= max(size, usual) / min(size, usual)
    return product


def _outside(profile: Profile, shapes: Mapping[str, Shape]) -> int:
    """By how many elements in all the shapes leave the profile."""
    total = 0
    for name, shape in shapes.items():
        span = profile.ranges[name]
        for low, size, high in zip(span.min, shape, span.max, strict=False):
            total += max(low - size, size - high, 0)
    return total
