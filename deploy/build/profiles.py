"""Optimization profiles: the shapes an engine is built for, checked before the build."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adroit.deploy.deployment.builds import Range, Shape
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.runtimes.tensorrt.profiles import Profile
from adroit.errors import UsageError

# TensorRT's dimensions are 32-bit.
LARGEST = 2**31 - 1
HINT = "a profile is NAME=INPUT:MIN,OPT,MAX with shapes such as 1x3x224x224; put ; between inputs"


def read_profile(text: str) -> Profile:
    """A profile as the command line gives it; see HINT.

    Raises:
        UsageError: text that is none.
    """
    name, _, rest = text.partition("=")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise UsageError(f"{name!r} is not a name for a profile", hint=HINT)
    ranges: dict[str, Range] = {}
    for part in rest.split(";"):
        given, _, shapes = part.partition(":")
        read = [_read_shape(shape, text) for shape in shapes.split(",")]
        if given.strip() in ranges:
            raise UsageError(f"profile {text!r} gives input {given.strip()} twice", hint=HINT)
        if len(read) not in (1, 3):
            raise UsageError(f"profile {text!r} gives {len(read)} shapes for {given}, not MIN,OPT,MAX", hint=HINT)
        ranges[given.strip()] = Range(*read) if len(read) == 3 else Range(*read * 3)
    return Profile(name, ranges)


def _read_shape(text: str, whole: str) -> Shape:
    if not re.fullmatch(r"\s*\d{1,10}(x\d{1,10})*\s*", text):
        raise UsageError(f"{text!r} in profile {whole!r} is not a shape", hint=HINT)
    return tuple(map(int, text.split("x")))


def profiles_for(info: Description, given: Sequence[Profile]) -> list[Profile]:
    """The profiles to build, completed and checked: without any, one image of the usual size.

    A profile may leave out `gate_threshold`: it then holds one value a sample.

    Raises:
        UsageError: the profile, input and dimension that is wrong.
    """
    profiles = list(given) or [_usual(info)]
    names = [profile.name for profile in profiles]
    if len(set(names)) < len(names):
        raise UsageError(f"two profiles have one name: {', '.join(names)}")
    completed = [_completed(profile, info.inputs) for profile in profiles]
    for profile in completed:
        _check(profile, info.inputs)
    return completed


def _usual(info: Description) -> Profile:
    specs = [spec for spec in info.inputs if spec.name != GATE_THRESHOLD_INPUT]
    return Profile("default", {spec.name: Range(*(info.usual_shape(spec),) * 3) for spec in specs})


def _completed(profile: Profile, inputs: Sequence[TensorSpec]) -> Profile:
    image = profile.ranges.get(inputs[0].name)
    if (
        image is None
        or GATE_THRESHOLD_INPUT in profile.ranges
        or GATE_THRESHOLD_INPUT not in {spec.name for spec in inputs}
    ):
        return profile
    batches = Range(*(shape[:1] for shape in image.shapes.values()))
    return Profile(profile.name, {**profile.ranges, GATE_THRESHOLD_INPUT: batches})


def _check(profile: Profile, inputs: Sequence[TensorSpec]) -> None:
    specs = {spec.name: spec for spec in inputs}
    wrong = [f"has no input {name}" for name in profile.ranges if name not in specs]
    wrong += [f"lacks input {name}" for name in specs if name not in profile.ranges]
    if wrong:
        raise UsageError(
            f"profile {profile.name!r}: the model has the inputs {', '.join(map(str, inputs))}",
            facts={"profile": "; ".join(profile.ranges), "wrong": "; ".join(wrong).replace("has no", "unknown")},
            hint=HINT,
        )
    for name, span in profile.ranges.items():
        _check_range(profile.name, specs[name], span)


def _check_range(profile: str, spec: TensorSpec, span: Range) -> None:
    facts = {"input": str(spec), **{kind: "x".join(map(str, shape)) for kind, shape in span.shapes.items()}}
    for kind, shape in span.shapes.items():
        if len(shape) != len(spec.shape):
            raise UsageError(
                f"profile {profile!r}: {kind} of input {spec.name} has {len(shape)} dimensions,"
                f" the input {len(spec.shape)}",
                facts=facts,
                hint=HINT,
            )
    for index, dimension in enumerate(spec.shape):
        where = f"profile {profile!r}: input {spec.name}, dimension {index}"
        where += f" ({dimension})" if isinstance(dimension, str) else ""
        low, usual, high = (shape[index] for shape in span.shapes.values())
        if isinstance(dimension, int) and not low == usual == high == dimension:
            raise UsageError(f"{where} is fixed at {dimension} in the model", facts=facts)
        if low < 1 or high > LARGEST:
            raise UsageError(f"{where} must be 1 to {LARGEST}", facts=facts)
        pairs = (("min", low, "max", high), ("min", low, "opt", usual), ("opt", usual, "max", high))
        for small, below, large, above in pairs:
            if below > above:
                raise UsageError(
                    f"{where}: {small} {below} is above {large} {above}",
                    facts=facts,
                    hint="give min <= opt <= max in every dimension",
                )
