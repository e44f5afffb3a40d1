"""Mutates valid inputs into hostile ones: bytes anywhere, and values inside JSON and TOML. The seed fixes them all."""

from __future__ import annotations

import copy
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Seconds for each target; `make fuzz` gives minutes. Where there are none, COUNT inputs are tried.
SECONDS = float(os.environ.get("ADROIT_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("ADROIT_FUZZ_SEED", "0"))
COUNT = 150
# What a whole test may take; a hang is found by it.
LIMIT = 1200 + 3 * SECONDS

# What parsers trip over: signs, sizes beyond memory, numbers that are none, text of other encodings, nesting.
VALUES: list[Any] = [
    None, True, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.0, -0.0, 1e-320, 1e308, float("nan"),
    float("inf"), "", "\0", "\ud800", "..", "/", "../" * 30, "x" * 10_000, "\U0001f600", [], {}, [[]] * 3, [0] * 5000,
    {"": {}}, {"__class__": "x"},
]  # fmt: skip
_PIECES = [b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff" * 8, b"{", b"]", b"\n", b"\r\n\r\n", b"PK\3\4"]


def hostile(
    seeds: Sequence[bytes], mutate: Callable[[random.Random, bytes], bytes], count: int = COUNT
) -> Iterator[bytes]:
    """Yields mutations of the seeds: for SECONDS, or `count` of them."""
    chance, end, number = random.Random(SEED), time.monotonic() + SECONDS, 0
    while number < count if not SECONDS else time.monotonic() < end:
        yield mutate(chance, chance.choice(seeds))
        number += 1


def mutated_bytes(chance: random.Random, content: bytes) -> bytes:
    """One to eight changes: bits turned, bytes replaced, pieces cut out, repeated or moved, the end cut off."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        if not data:
            return chance.randbytes(20)
        at, length = chance.randrange(len(data)), chance.choice((1, 2, 4, 16, 200))
        kind = chance.randrange(7)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            piece = chance.choice(_PIECES)
            data[at : at + len(piece)] = piece
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length] * chance.choice((1, 3, 50))
        elif kind == 4:
            del data[at:]
        elif kind == 5:
            other = chance.randrange(len(data))
            data[at : at + length] = data[other : other + length]
        else:
            data[at : at + length] = chance.randbytes(min(length, len(data) - at))
    return bytes(data)


def mutated_json(chance: random.Random, content: bytes) -> bytes:
    """A value, a key or an item of the tree changed; now and then the text's bytes."""
    if chance.random() < 0.2:
        return mutated_bytes(chance, content)
    return json.dumps(mutated_tree(chance, json.loads(content))).encode()


def mutated_tree(chance: random.Random, tree: Any) -> Any:
    """A copy of a tree of dictionaries and lists with one to four changes."""
    result = copy.deepcopy(tree)
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.choice(list(_containers(result)))
        if isinstance(place, dict):
            _change_table(chance, place)
        elif place:
            index = chance.randrange(len(place))
            place[index : index + 1] = chance.choice(([], [_value(chance)], [place[index]] * 20))
        else:
            place.append(_value(chance))
    return result


def _change_table(chance: random.Random, table: dict[str, Any]) -> None:
    kind = chance.randrange(4)
    if kind == 0 or not table:
        table[chance.choice(("unknown", "", "name", "\0", "x" * 300))] = _value(chance)
        return
    key = chance.choice(list(table))
    if kind == 1:
        del table[key]
    elif kind == 2:
        table[key] = _value(chance)
    else:
        table[key] = table[chance.choice(list(table))]


def _value(chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(VALUES))


def _containers(tree: Any) -> Iterator[Any]:
    yield tree if isinstance(tree, dict | list) else {}
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        if isinstance(value, dict | list):
            yield from _containers(value)
