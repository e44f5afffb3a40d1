"""RoutingGate: torch, portable body and native library against float64."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException
from torch.nn import functional

from adroit.deploy.parity.tolerance import compare
from adroit.deploy.runtimes.native import instruction_set, native_library
from adroit.errors import EnvironmentFault, UsageError
from adroit.models.operators.routing_gate import routing_gate
from tests.operators.cases.routing_gate import (
    CASES,
    FLOAT32_INPUTS,
    Case,
    exact_value_and_limit,
    make_inputs,
)
from tests.operators.harness import FORMS, node_model, run_node

BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
KINDS = pytest.mark.parametrize("kind", ["float32", "float64"])


def check(
    gates: np.ndarray, is_open: np.ndarray, inputs: dict[str, np.ndarray], case: Case, kind: str = "float32"
) -> None:
    """The values within their limit; open or closed exactly, where the margin to the threshold decides it."""
    value, limit = exact_value_and_limit(inputs, case, kind)
    threshold = np.maximum(inputs["threshold"].astype(np.float64), 0.0)[:, None]
    expected = value > threshold
    decided = (np.abs(value - threshold) > limit) | (value == 0.0)
    assert decided.all(), "the case's gates are too near their threshold to tell"
    np.testing.assert_array_equal(gates > 0, expected)
    np.testing.assert_array_equal(is_open, expected.any(0))
    result = compare(gates, np.where(expected, value, 0.0), limit)
    assert result.passed, result


def model_of(case: Case, inputs: dict[str, np.ndarray], constants: tuple[str, ...] = ()) -> object:
    return node_model("RoutingGate", inputs, {"shrink": case.shrink}, constants)


def torch_gate(inputs: dict[str, np.ndarray], shrink: int, kind: str = "float32") -> list[np.ndarray]:
    tensors = [torch.tensor(inputs[k], dtype=getattr(torch, kind)) for k in FLOAT32_INPUTS]
    return [t.numpy() for t in routing_gate(*tensors, shrink)]


@BY_NAME
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("constants", [(), ("W1", "b1", "W2", "b2")], ids=["weights fed", "weights constant"])
def test_onnx_is_within_the_limit(case: Case, form: str, constants: tuple[str, ...]) -> None:
    inputs = make_inputs(case)
    check(*run_node(model_of(case, inputs, constants), inputs, form), inputs, case)


@BY_NAME
@KINDS
def test_torch_is_within_the_limit(case: Case, kind: str) -> None:
    inputs = make_inputs(case)
    check(*torch_gate(inputs, case.shrink, kind), inputs, case, kind)


def test_every_case_has_an_open_gate_and_the_table_closed_ones() -> None:
    """Gates that are all closed, or all open, would test little."""
    values = [exact_value_and_limit(make_inputs(case), case)[0] for case in CASES]
    assert all((value > 0.05).any() for value in values)
    assert 0.25 < (np.concatenate([value.ravel() for value in values]) == 0.0).mean() < 0.75


@pytest.mark.parametrize("height", range(4, 13))
@pytest.mark.parametrize("width", [4, 5, 6, 7, 9])
def test_the_shrink_is_torchs_interpolation_and_the_center_of_each_block(height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    shrunk = functional.interpolate(x, scale_factor=0.25, mode="bilinear", align_corners=False)
    assert shrunk.shape[2:] == (height // 4, width // 4)
    blocks = x[:, :, : height // 4 * 4, : width // 4 * 4].unflatten(3, (-1, 4)).unflatten(2, (-1, 4))
    center = blocks[:, :, :, 1:3, :, 1:3].mean((3, 5))
    torch.testing.assert_close(shrunk, center, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_closed_gates_are_exactly_0_and_not_open(form: str) -> None:
    case = Case("closed", (3, 4, 4, 4), 2, 2)
    inputs = make_inputs(case)
    inputs["W2"][0], inputs["b2"][:] = 0.0, (0.0, -3.0)  # the first is tanh(0), at the threshold and not above it
    inputs["W2"][1] = 0.0
    gates, is_open = run_node(model_of(case, inputs), inputs, form)
    np.testing.assert_array_equal(gates, np.zeros((3, 2)))
    np.testing.assert_array_equal(is_open, [False, False])


@pytest.mark.parametrize("form", [*FORMS, "torch"])
def test_a_gate_that_is_not_a_number_is_closed(form: str) -> None:
    case = Case("not a number", (2, 4, 16, 16), 4, 2)
    inputs = make_inputs(case)
    inputs["b2"] = np.array([5.0, 5.0], np.float32)
    inputs["X"][0, 1, 9, 3] = np.nan
    gates, is_open = torch_gate(inputs, 1) if form == "torch" else run_node(model_of(case, inputs), inputs, form)
    np.testing.assert_array_equal(gates[0], [0.0, 0.0])
    assert (gates[1] > 0).all() and is_open.all()


@pytest.mark.parametrize("shrink", [1, 4])
def test_results_do_not_depend_on_threads_or_batch_mates(shrink: int) -> None:
    case = Case("threads", (4, 19, 93, 117), 37, 3, shrink)
    inputs = make_inputs(case)
    model = model_of(case, inputs, ("W1",))
    one, four = (run_node(model, inputs, "native", threads)[0] for threads in (1, 4))
    np.testing.assert_array_equal(one, four)
    for n in range(3):
        alone = {**inputs, "X": inputs["X"][n : n + 1]}
        np.testing.assert_array_equal(run_node(model, alone, "native")[0][0], one[n])


REFUSED = [
    ({"X": (0, 4, 8, 8)}, 1, "empty input"),
    ({"X": (1, 5, 8, 8)}, 1, "channels"),
    ({"W2": (2, 7)}, 1, "hidden channels"),
    ({"b1": (4,)}, 1, "b1"),
    ({"b2": (3,)}, 1, "b2"),
    ({"threshold": (2,)}, 1, "threshold"),
    ({"X": (1, 4, 3, 8)}, 4, "smaller than the shrink"),
    ({"X": (1, 4, 8, 3)}, 4, "smaller than the shrink"),
    ({"X": (1, 4, 8, 8)}, 3, "shrink"),
]


@pytest.mark.parametrize(("shapes", "shrink", "message"), REFUSED, ids=[f"{r[2]} {r[0]}" for r in REFUSED])
@pytest.mark.parametrize("where", ["torch", "native"])
def test_wrong_inputs_are_refused(shapes: dict[str, tuple[int, ...]], shrink: int, message: str, where: str) -> None:
    right = {"X": (1, 4, 8, 8), "W1": (6, 4), "b1": (6,), "W2": (2, 6), "b2": (2,), "threshold": (1,)}
    inputs = {name: np.zeros(shape, np.float32) for name, shape in {**right, **shapes}.items()}
    if where == "torch":
        with pytest.raises(UsageError, match=message):
            torch_gate(inputs, shrink)
        return
    # ONNX Runtime reports a refused attribute while it makes the session, with an error type of its own.
    with pytest.raises((InvalidArgument, RuntimeException), match=message):
        run_node(node_model("RoutingGate", inputs, {"shrink": shrink}), inputs, "native")


@pytest.mark.parametrize("forced", ["generic", "avx2", "avx512"])
def test_every_instruction_set_is_within_the_limit(forced: str) -> None:
    """The set is chosen once per process: so another process, with that set forced, runs the table."""
    environment = {**os.environ, "ADROIT_INSTRUCTION_SET": forced}
    done = subprocess.run(
        [sys.executable, "-c", "from tests.operators import test_routing_gate as t; t.run_table()"],
        env=environment,
        capture_output=True,
        text=True,
    )
    if "this CPU lacks it" in done.stderr or "library is missing" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [forced, str(len(CASES))]


def run_table() -> None:
    """Every case by the native library; prints the instruction set and the number of cases that passed."""
    try:
        chosen = instruction_set(native_library())
    except EnvironmentFault as error:
        raise SystemExit(error.message) from error
    passed = 0
    for case in CASES:
        inputs = make_inputs(case)
        check(*run_node(model_of(case, inputs), inputs, "native"), inputs, case)
        passed += 1
    print(chosen, passed)


def test_export_keeps_batch_and_size_symbolic() -> None:
    class Gate(torch.nn.Module):
        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return routing_gate(*tensors, 4)

    case = replace(CASES[8], x=(2, 16, 16, 24))
    tensors = tuple(torch.tensor(make_inputs(case)[k]) for k in FLOAT32_INPUTS)
    dynamic = torch.export.Dim.DYNAMIC
    shapes = (({0: dynamic, 2: dynamic, 3: dynamic}, *[{}] * 5),)
    program = torch.export.export(Gate(), tensors, dynamic_shapes=shapes)
    larger = torch.randn(3, 16, 21, 30)
    gates, is_open = program.module()(larger, *tensors[1:])
    assert gates.shape == (3, 3) and is_open.dtype == torch.bool
