"""Values of files as structs: every wrong one is an error with its place, its value and the nearest name."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
from msgspec import Struct

from adroit.errors import UsageError
from adroit.validation import Finite, ImageSize, NonNegative, Positive, PositiveInt, Share, convert_values, rename_keys


class Layer(Struct, frozen=True, forbid_unknown_fields=True):
    rate: NonNegative = 0.1
    crop: ImageSize | None = None
    shares: tuple[Share, ...] = ()
    pair: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.pair == (1.0, 1.0):
            raise ValueError("pair must have two different numbers")


class Network(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    kind: Literal["cosine", "poly"] = "poly"
    layer: Layer = Layer()
    layers: tuple[Layer, ...] = ()
    named: dict[str, Layer] = {}
    epochs: PositiveInt = 1
    scale: Positive = 1.0
    offset: Finite = 0.0

    def __post_init__(self) -> None:
        if self.name == "forbidden":
            raise ValueError("the name is forbidden")


def _convert(**values: Any) -> Network:
    return convert_values({"name": "a", **values}, Network, source="file.toml", noun="a network")


def test_values_become_a_struct() -> None:
    layer = Layer(1.0, (3, 4), (0.5, 1.0))
    values = {"rate": 1, "crop": [3, 4], "shares": [0.5, 1]}
    assert _convert(layer=values, layers=[values], named={"b": values}) == Network(
        "a", layer=layer, layers=(layer,), named={"b": layer}
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer": 1}, "layer must be a table, and is 1"),
        ({"layer": []}, "layer must be a table, and is []"),
        ({"name": 1}, "name must be a string, and is 1"),
        ({"name": "forbidden"}, "file.toml: the name is forbidden"),
        ({"epochs": 0}, "epochs must be at least 1, and is 0"),
        ({"epochs": 1.5}, "epochs must be a whole number, and is 1.5"),
        ({"epochs": True}, "epochs must be a whole number, and is True"),
        ({"scale": 0}, "scale must be above 0, and is 0"),
        ({"scale": math.inf}, "scale must be finite, and is inf"),
        ({"offset": -math.inf}, "offset must be finite, and is -inf"),
        ({"offset": math.nan}, "offset must be finite, and is nan"),
        ({"kind": 3}, "kind must be a string, and is 3"),
        ({"kind": "polo"}, "kind must be one of cosine, poly, and is 'polo'\n\nhint: did you mean poly?"),
        ({"kind": "zzz"}, "kind must be one of cosine, poly, and is 'zzz'"),
        ({"layer": {"rate": -1}}, "layer.rate must not be negative, and is -1"),
        ({"layer": {"rate": math.nan}}, "layer.rate must not be negative, and is nan"),
        ({"layer": {"crop": [3]}}, "layer.crop must be [height, width] in pixels, and is [3]"),
        ({"layer": {"crop": [3, 0]}}, "layer.crop must be [height, width] in pixels, and is [3, 0]"),
        ({"layer": {"crop": "3"}}, "layer.crop must be [height, width] in pixels, and is '3'"),
        ({"layer": {"shares": [0.5, 2]}}, "layer.shares[1] must be at most 1, and is 2"),
        ({"layer": {"shares": [0.5, True]}}, "layer.shares[1] must be a number, and is True"),
        ({"layer": {"shares": "ab"}}, "layer.shares must be a list of numbers, and is 'ab'"),
        ({"layer": {"pair": [1, 2, 3]}}, "layer.pair must have 2 numbers, and has 3"),
        ({"layer": {"pair": [1, 1]}}, "layer.pair must have two different numbers"),
        ({"layer": {"pair": 1}}, "layer.pair must be a list of numbers or none, and is 1"),
        ({"layers": [{}, {"rate": -1}]}, "layers[1].rate must not be negative, and is -1"),
        ({"named": {"b": {}, "c": {"rate": "x"}}}, "named.c.rate must be a number, and is 'x'"),
        (
            {"layer": {"rat": 1}},
            "layer.rat is not a field of a network\n"
            "  fields  rate, crop, shares, pair\n\nhint: did you mean layer.rate?",
        ),
    ],
)
def test_a_wrong_value_is_one_error_with_its_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        _convert(**values)
    assert str(raised.value).removeprefix("file.toml: ") == message.removeprefix("file.toml: ")
    assert str(raised.value).startswith("file.toml: ")


def test_a_table_of_a_file_is_named_before_its_fields() -> None:
    def convert(values: Any) -> Layer:
        return convert_values(values, Layer, source="f", noun="a recipe", place="layer", also=("groups",))

    assert convert({}) == Layer()
    with pytest.raises(UsageError, match=r"^f: layer must be a table, and is 3"):
        convert(3)
    with pytest.raises(UsageError, match=r"did you mean layer\.groups\?"):
        convert({"grops": 1})
    with pytest.raises(UsageError, match=r"^f: name is missing$"):
        convert_values({}, Network, source="f", noun="a network")


def test_keys_of_older_files_are_renamed() -> None:
    names = {"optimizer.settle": "precise", "colour": "color"}
    old = {"colour": 1, "optimizer": {"settle": 2, "rate": 3}}
    assert rename_keys(old, names) == {"color": 1, "optimizer": {"precise": 2, "rate": 3}}
    assert old == {"colour": 1, "optimizer": {"settle": 2, "rate": 3}}
    both = {"colour": 1, "color": 2, "optimizer": 3}
    assert rename_keys(both, names) == both
