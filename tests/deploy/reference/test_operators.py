"""The list of operators that a stored program may call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from adroit.deploy.reference.operators import _PACKETS, resolve


def overloads() -> Iterator[tuple[str, Any]]:
    """Every operator that is on the list, with its name."""
    for library, packets in _PACKETS.items():
        for packet in sorted(packets):
            for overload in getattr(getattr(torch.ops, library), packet).overloads():
                name = f"{library}.{packet}.{overload}"
                try:
                    yield name, resolve(name)
                except KeyError:
                    continue


def test_every_name_of_the_list_is_an_operator() -> None:
    known = {name.rsplit(".", 1)[0] for name, _ in overloads()}
    assert known == {f"{library}.{packet}" for library, packets in _PACKETS.items() for packet in packets}


def test_what_can_be_random_has_an_argument_that_says_so() -> None:
    """check_arguments refuses each of these unless the argument says that nothing is random."""
    for name, operator in overloads():
        if torch.Tag.nondeterministic_seeded in operator.tags:
            assert {a.name for a in operator._schema.arguments} & {"train", "training", "dropout_p"}, name


def test_nothing_writes_but_into_its_first_argument() -> None:
    for name, operator in overloads():
        written = [i for i, a in enumerate(operator._schema.arguments) if a.alias_info and a.alias_info.is_write]
        assert written == ([0] if name.split(".")[1].endswith("_") else []), name


@pytest.mark.parametrize(
    "name",
    [
        "aten.relu",
        "aten.relu.default.__call__",
        "aten.relu.__class__",
        "aten.as_strided.default",
        "aten.set_.source_Tensor",
        "aten.randn.default",
        "aten.nonzero.default",
        "aten.item.default",
        "adroit.adder_conv2d_backward.default",
        "builtins.eval",
        "operator.attrgetter",
        "operator.methodcaller",
        "prim.device.default",
        "",
    ],
)
def test_other_names_are_unknown(name: str) -> None:
    with pytest.raises(KeyError):
        resolve(name)
