"""A node of one of our operators as the plugin host tries it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Attributes = dict[str, int | list[int] | float]


Tensors = dict[str, NDArray[np.generic]]


@dataclass
class Node:
    """A node of one of our operators: its attributes, its tensors' types and sizes, and how to run it."""

    name: str
    operator: str
    attributes: Attributes
    inputs: list[tuple[str, list[str]]]  # type and sizes, in operators.toml's order
    outputs: list[tuple[str, list[str]]]
    ranges: dict[str, tuple[int, int]]
    reference: Callable[[Mapping[str, NDArray[np.float64]]], list[NDArray[np.float64]]]
    runs: list[dict[str, int]]
    misfits: list[str] = field(default_factory=list)
    divides: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def convolved(size: str, kernel: int, stride: int, pads: int) -> str:
    return f"({size}+{pads}-{kernel})/{stride}+1"
