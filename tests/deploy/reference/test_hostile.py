"""A hostile program is refused when it is read, by a message of ours, before anything is allocated."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adroit.deploy.reference.store import PROGRAM, WEIGHTS
from tests.deploy.reference.stored import Json, refusal


def node(program: Json, op: str) -> Json:
    first: Json = next(n for n in program["graphs"][0]["nodes"] if n["op"].startswith(op))
    return first


def unknown_operator(p: Json) -> None:
    node(p, "aten.conv2d")["op"] = "aten.from_file.default"


def python_function(p: Json) -> None:
    node(p, "aten.conv2d")["op"] = "os.system"


def attribute_chain(p: Json) -> None:
    node(p, "aten.conv2d")["op"] = "aten.__class__.__init__"


def out_overload(p: Json) -> None:
    node(p, "aten.sigmoid")["op"] = "aten.sigmoid.out"


def bits_as_another_type(p: Json) -> None:
    node(p, "aten.view")["op"] = "aten.view.dtype"


def unknown_value(p: Json) -> None:
    node(p, "aten.sigmoid")["args"][0]["name"] = "nowhere"


def cycle(p: Json) -> None:
    node(p, "aten.conv2d")["args"][0] = {"kind": "value", "name": node(p, "aten.sigmoid")["name"]}


def index_out_of_range(p: Json) -> None:
    node(p, "operator.getitem")["args"][1] = 7


def index_by_text(p: Json) -> None:
    node(p, "operator.getitem")["args"][1] = "__class__"


def text_times_number(p: Json) -> None:
    p["graphs"][0]["nodes"].insert(0, {"name": "long", "op": "operator.mul", "args": ["a" * 500, 2**40]})


def size_that_overflows(p: Json) -> None:
    names = [f"big_{i}" for i in range(9)]
    square = [
        {"name": b, "op": "operator.mul", "args": [{"kind": "value", "name": a}] * 2}
        for a, b in itertools.pairwise(names)
    ]
    start = {"name": names[0], "op": "operator.add", "args": [2**40, 1]}
    p["graphs"][0]["nodes"][:0] = [start, *square]


def huge_allocation(p: Json) -> None:
    node(p, "aten.full")["args"][0] = [10**6, 10**6]


def huge_number(p: Json) -> None:
    node(p, "aten.full")["args"][0] = [10**30]


def many_pieces(p: Json) -> None:
    views = [
        {"name": "wide", "op": "aten.full.default", "args": [[2**30], 0.0]},
        {"name": "pieces", "op": "aten.unbind.int", "args": [{"kind": "value", "name": "wide"}]},
    ]
    p["graphs"][0]["nodes"][:0] = views


def graph_in_itself(p: Json) -> None:
    node(p, "cond")["args"][1]["index"] = 0


def graph_shared(p: Json) -> None:
    node(p, "cond")["args"][2]["index"] = node(p, "cond")["args"][1]["index"]


def graph_out_of_range(p: Json) -> None:
    node(p, "cond")["args"][1]["index"] = 99


def deep_graphs(p: Json) -> None:
    first = len(p["graphs"])
    call = [{"kind": "graph", "index": first}, []]
    p["graphs"][0]["nodes"].append({"name": "deep", "op": "call", "args": call})
    for i in range(first, first + 40):
        inner = (
            [{"name": "more", "op": "call", "args": [{"kind": "graph", "index": i + 1}, []]}] if i < first + 39 else []
        )
        p["graphs"].append({"inputs": [], "nodes": inner, "outputs": []})


def name_with_a_path(p: Json) -> None:
    p["weights"][0]["name"] = "../../etc/passwd"


def name_with_a_control_code(p: Json) -> None:
    node(p, "aten.conv2d")["module"] = "conv\x1b[2J"


def two_values_of_a_name(p: Json) -> None:
    node(p, "aten.sigmoid")["name"] = node(p, "aten.conv2d")["name"]


def changes_a_weight(p: Json) -> None:
    weight = {"kind": "weight", "name": "conv.bias"}
    p["graphs"][0]["nodes"].insert(0, {"name": "spoilt", "op": "aten.mul_.Tensor", "args": [weight, 2.0]})


def draws_numbers(p: Json) -> None:
    call = {"name": "noise", "op": "aten.dropout.default", "args": [{"kind": "weight", "name": "conv.bias"}, 0.5, True]}
    p["graphs"][0]["nodes"].insert(0, call)


def names_a_device(p: Json) -> None:
    node(p, "aten.full")["kwargs"] = {"device": "cuda:0"}


def wrong_kind_of_argument(p: Json) -> None:
    node(p, "aten.conv2d")["args"][3] = "same"


def too_many_arguments(p: Json) -> None:
    node(p, "aten.sigmoid")["args"] += [1, 2]


def unknown_argument(p: Json) -> None:
    node(p, "aten.sigmoid")["kwargs"] = {"out": {"kind": "weight", "name": "conv.bias"}}


def unknown_field(p: Json) -> None:
    node(p, "aten.sigmoid")["pickle"] = "gASV"


def unknown_kind(p: Json) -> None:
    node(p, "aten.sigmoid")["args"][0]["kind"] = "eval"


def weight_of_another_shape(p: Json) -> None:
    p["weights"][0]["shape"] = [4, 3, 5, 5]


def weight_missing(p: Json) -> None:
    p["weights"].pop()


def another_format(p: Json) -> None:
    p["format"] = 2


def no_outputs(p: Json) -> None:
    p["outputs"] = []


def output_is_no_tensor(p: Json) -> None:
    p["graphs"][0]["outputs"][0]["name"] = node(p, "aten.chunk")["name"]


def example_of_another_shape(p: Json) -> None:
    p["inputs"][0]["example"] = [2, 5, 8, 8]


HOSTILE: tuple[Callable[[Json], None], ...] = (
    unknown_operator, python_function, attribute_chain, out_overload, bits_as_another_type, unknown_value, cycle,
    many_pieces,
    index_out_of_range, index_by_text, text_times_number, size_that_overflows, huge_allocation, huge_number,
    graph_in_itself, graph_shared, graph_out_of_range, deep_graphs, name_with_a_path, name_with_a_control_code,
    two_values_of_a_name, changes_a_weight, draws_numbers, names_a_device, wrong_kind_of_argument, too_many_arguments,
    unknown_argument, unknown_field, unknown_kind, weight_of_another_shape, weight_missing, another_format, no_outputs,
    output_is_no_tensor, example_of_another_shape,
)  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE, ids=[change.__name__ for change in HOSTILE])
def test_a_hostile_program_is_refused(
    change: Callable[[Json], None], program: Json, stored: Path, tmp_path: Path
) -> None:
    change(program)
    error = refusal(stored, tmp_path, json.dumps(program))
    assert PROGRAM in error.message or WEIGHTS in error.message or "weights' file" in error.message
    assert "\x1b" not in str(error)
