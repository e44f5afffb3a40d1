"""QAdderConv2d and QAdderConv2dAdd: torch, portable body and native library give the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, NotImplemented, RuntimeException

from adroit.deploy.measure.counts import count_model
from adroit.deploy.operators.rules import translations
from adroit.deploy.operators.schemas import register_schemas
from adroit.deploy.passes.stamp_operators import stamp_operators
from adroit.errors import UsageError
from adroit.models.operators.counts import OperationCounts
from adroit.models.operators.quantized_adder_conv2d import CHUNK_ELEMENTS, q_adder_conv2d, q_adder_conv2d_add
from tests.operators.cases.quantized_adder_conv2d import (
    CASES,
    ONE,
    Case,
    attributes,
    exact_sum,
    make_inputs,
)
from tests.operators.harness import FORMS, bodies_used_by, node_model, run_node

BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def expected(inputs: dict[str, np.ndarray], case: Case) -> np.ndarray:
    """Y, step by step in float32 as operators.toml writes it; numpy rounds after every operation."""
    given = attributes(case)
    scale, shift = (inputs[k][None, :, None, None] for k in ("scale", "shift"))
    value = shift - scale * exact_sum(inputs, case).astype(np.float32)
    if case.residual:
        steps = (inputs["residual"].astype(np.int32) - given["residual_zero_point"]).astype(np.float32)
        value = value + np.float32(given["residual_scale"]) * steps
    value = np.where(value < 0, np.float32(0), value) if case.relu else value
    assert value.dtype == np.float32
    if case.output == "float32":
        return value
    limits = np.iinfo(case.type)
    rounded = np.rint(value / np.float32(given["output_scale"])).astype(np.float64) + given["output_zero_point"]
    return np.clip(rounded, limits.min, limits.max).astype(case.type)


def model_of(case: Case, inputs: dict[str, np.ndarray], constants: tuple[str, ...] = ()) -> Any:
    return node_model(case.operator, inputs, attributes(case), constants, bodies_used_by(case.operator))


def run_torch(inputs: dict[str, np.ndarray], case: Case) -> torch.Tensor:
    given = attributes(case)
    tensors = [torch.from_numpy(v) for v in inputs.values()]
    geometry = [case.strides[0], case.pads[0], case.relu]
    rest = [v for k, v in given.items() if k not in ("strides", "pads", "activation")]
    return (q_adder_conv2d_add if case.residual else q_adder_conv2d)(*tensors, *geometry, *rest)


@BY_NAME
def test_the_cases_are_worth_testing(case: Case) -> None:
    """Most outputs are neither saturated nor all alike, except where a case wants extremes."""
    y = expected(make_inputs(case), case)
    if case.values == "random" and y.size > 20 and not case.relu:
        limits = np.iinfo(case.type)
        assert len(np.unique(y)) > 5
        assert np.mean((y == limits.min) | (y == limits.max)) < 0.6


@BY_NAME
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("constants", [(), ("W", "scale", "shift")], ids=["weights fed", "weights constant"])
def test_onnx_is_exact(case: Case, form: str, constants: tuple[str, ...]) -> None:
    inputs = make_inputs(case)
    (y,) = run_node(model_of(case, inputs, constants), inputs, form)
    wanted = expected(inputs, case)
    assert y.dtype == wanted.dtype
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("case", [c for c in CASES if c.symmetric], ids=lambda c: c.name)
def test_torch_is_exact(case: Case) -> None:
    inputs = make_inputs(case)
    y = run_torch(inputs, case).numpy()
    wanted = expected(inputs, case)
    assert y.dtype == wanted.dtype
    np.testing.assert_array_equal(y, wanted)


def test_torch_in_pieces_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[4]
    inputs = make_inputs(case)
    assert inputs["W"][0].size * case.x[2] * case.x[3] < CHUNK_ELEMENTS, "the other tests have one piece"
    monkeypatch.setattr(
        "adroit.models.operators.quantized_adder_conv2d.CHUNK_ELEMENTS", inputs["W"][0].size * case.x[3] * 3
    )
    np.testing.assert_array_equal(run_torch(inputs, case).numpy(), expected(inputs, case))


def random_case(random: np.random.Generator, index: int) -> Case:
    def pick(low: int, high: int) -> int:
        return int(random.integers(low, high, endpoint=True))

    kernel = (pick(1, 5), pick(1, 5)) if index % 2 else (3, 3)
    strides = (pick(1, 3), pick(1, 3)) if index % 3 else (1, 1)
    pads = (pick(0, 3), pick(0, 3), pick(0, 3), pick(0, 3))
    x = (pick(1, 2), pick(1, 40), pick(kernel[0], 20), pick(kernel[1], 70))
    return Case(
        f"random {index}",
        x,
        pick(1, 20),
        kernel,
        strides,
        pads,
        bool(pick(0, 1)),
        bool(pick(0, 1)),
        "int8" if pick(0, 1) else "uint8",
        "float32" if pick(0, 3) == 0 else "quantized",
    )


def test_native_is_exact_on_random_shapes() -> None:
    random = np.random.default_rng(20)
    for index in range(60):
        case = random_case(random, index)
        inputs = make_inputs(case)
        (y,) = run_node(model_of(case, inputs, ("W",) if index % 2 else ()), inputs, "native")
        np.testing.assert_array_equal(y, expected(inputs, case), err_msg=str(case))


def test_no_multiply_add_is_fused_natively() -> None:
    """Where fused and unfused results differ, the native one is the unfused; so the other tests can tell."""
    case = Case("rounding twice", (1, 7, 20, 24), 16, (3, 3), output="float32")
    inputs = make_inputs(case)
    inputs["shift"] = (inputs["scale"] * exact_sum(inputs, case)[0, :, 3, 3]).astype(np.float32)
    (y,) = run_node(model_of(case, inputs), inputs, "native")
    np.testing.assert_array_equal(y, expected(inputs, case))
    fused = inputs["shift"].astype(np.float64)[:, None, None] - inputs["scale"].astype(np.float64)[
        :, None, None
    ] * exact_sum(inputs, case)
    assert np.any(y[0] != fused.astype(np.float32))


def test_an_int8_model_equals_the_uint8_model_lowered_by_128() -> None:
    case = CASES[4]
    inputs, given = make_inputs(case), attributes(case)
    (y,) = run_node(node_model(case.operator, inputs, given, (), bodies_used_by(case.operator)), inputs, "native")
    lowered = {k: (v.astype(int) - 128).astype(np.int8) if v.dtype == np.uint8 else v for k, v in inputs.items()}
    shifted = {k: v - 128 if "zero_point" in k else v for k, v in given.items()} | {"output_type": 3}
    (z,) = run_node(node_model(case.operator, lowered, shifted, (), bodies_used_by(case.operator)), lowered, "native")
    np.testing.assert_array_equal(y.astype(int) - 128, z.astype(int))


@pytest.mark.parametrize("form", FORMS)
def test_halves_are_rounded_to_even_and_limits_saturate(form: str) -> None:
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, 127.5, -130.4], np.float32)
    inputs = {
        "X": np.zeros((1, 1, 1, 1), np.uint8),
        "W": np.zeros((len(values), 1, 1, 1), np.uint8),
        "scale": np.ones(len(values), np.float32),
        "shift": values,
    }
    given = attributes(Case("", (1, 1, 1, 1), 1, (1, 1))) | {"output_scale": 1.0, "output_zero_point": 128}
    (y,) = run_node(node_model("QAdderConv2d", inputs, given, (), ["AdderConv2d"]), inputs, form)
    assert y.ravel().tolist() == [128, 130, 130, 128, 126, 255, 0, 255, 0]


def test_values_that_are_no_numbers_do_no_harm() -> None:
    inputs = make_inputs(CASES[3])
    inputs["shift"][:3] = [np.nan, np.inf, -np.inf]
    (y,) = run_node(model_of(CASES[3], inputs), inputs, "native")
    wanted = expected(make_inputs(CASES[3]), CASES[3])
    np.testing.assert_array_equal(y[:, 3:], wanted[:, 3:])


def test_results_do_not_depend_on_threads() -> None:
    case = Case("threads", (2, 19, 23, 29), 137, (3, 3), pads=ONE)
    inputs = make_inputs(case)
    model = model_of(case, inputs, ("W",))
    one, four = (run_node(model, inputs, "native", threads)[0] for threads in (1, 4))
    np.testing.assert_array_equal(one, four)


@pytest.mark.parametrize(
    ("x", "w", "message"),
    [
        ((0, 3, 8, 8), (4, 3, 3, 3), "empty input"),
        ((1, 2, 8, 8), (4, 3, 3, 3), "channels"),
        ((1, 3, 2, 2), (4, 3, 3, 3), "smaller than"),
        ((1, 65794, 1, 1), (1, 65794, 1, 1), "65793"),
    ],
)
@pytest.mark.parametrize("where", ["torch", "native", "native, weights constant"])
def test_wrong_shapes_are_refused(x: tuple[int, ...], w: tuple[int, ...], message: str, where: str) -> None:
    inputs = {
        "X": np.zeros(x, np.uint8),
        "W": np.zeros(w, np.uint8),
        "scale": np.ones(w[0], np.float32),
        "shift": np.zeros(w[0], np.float32),
    }
    case = Case("", (1, 1, 1, 1), 1, (1, 1))
    if where == "torch":
        with pytest.raises(UsageError, match=message):
            run_torch(inputs, case)
        return
    constants = ("W",) if "constant" in where else ()
    model = node_model("QAdderConv2d", inputs, attributes(case), constants, ["AdderConv2d"])
    with pytest.raises(InvalidArgument, match=message):
        run_node(model, inputs, "native")


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("uint8", {"x_zero_point": -1}, "x_zero_point"),
        ("int8", {"x_zero_point": 128}, "x_zero_point"),
        ("uint8", {"output_zero_point": -1}, "output_zero_point"),
        ("int8", {"output_zero_point": 200}, "output_zero_point"),
        ("int8", {"residual_zero_point": 200}, "residual_zero_point"),
        ("uint8", {"output_type": 3}, "Type Error|implementation"),
        ("uint8", {"output_scale": float("nan")}, "output_scale"),
        ("uint8", {"output_scale": 0.0}, "output_scale"),
        ("uint8", {"residual_scale": -1.0}, "residual_scale"),
    ],
    ids=str,
)
def test_attributes_that_do_not_fit_the_type_are_refused(kind: str, changes: dict[str, Any], message: str) -> None:
    case = replace(CASES[4], type=kind)
    inputs = make_inputs(case)
    model = node_model(case.operator, inputs, attributes(case) | changes, (), bodies_used_by(case.operator))
    with pytest.raises((InvalidArgument, Fail, NotImplemented, RuntimeException), match=message):
        run_node(model, inputs, "native")


def test_export_keeps_batch_and_size_symbolic() -> None:
    class Layer(torch.nn.Module):
        def forward(self, x: torch.Tensor, w: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
            return q_adder_conv2d(x, w, s, s, 2, 1, True, 3, 2, 0.5, 1)

    x, w, s = torch.zeros(2, 3, 8, 9, dtype=torch.uint8), torch.zeros(4, 3, 3, 3, dtype=torch.uint8), torch.ones(4)
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(Layer(), (x, w, s), dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic}, {}, {}))
    y = program.module()(torch.zeros(3, 3, 11, 12, dtype=torch.uint8), w, s)
    assert y.shape == (3, 4, 6, 6) and y.dtype == torch.uint8


@pytest.mark.parametrize("case", [CASES[4], CASES[5], CASES[9]], ids=lambda c: c.name)
def test_an_exported_layer_is_exact_and_counted(case: Case) -> None:
    """torch to ONNX, shapes and types inferred, operations counted, both forms run."""

    class Layer(torch.nn.Module):
        def forward(self, x: torch.Tensor, w: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            given = [v for k, v in attributes(case).items() if k not in ("strides", "pads", "activation")]
            operator = q_adder_conv2d_add if case.residual else q_adder_conv2d
            return operator(x, w, *rest, case.strides[0], case.pads[0], case.relu, *given)

    inputs = make_inputs(case)
    tensors = tuple(torch.from_numpy(v) for v in inputs.values())
    names = [*inputs]
    program = torch.onnx.export(
        Layer().eval(), tensors, dynamo=True, input_names=names, custom_translation_table=translations(), verbose=False
    )
    stamp_operators(program.model)
    model = onnx.load_from_string(program.model_proto.SerializeToString())
    wanted = expected(inputs, case)
    for form in FORMS:
        (y,) = run_node(model, inputs, form)
        np.testing.assert_array_equal(y, wanted)

    (layer,) = count_model(model, {k: v.shape for k, v in inputs.items()}).layers
    assert layer.shape == wanted.shape
    taps, each = wanted.size * inputs["W"][0].size, 2 + 3 * case.residual + case.relu + 4 * (case.output != "float32")
    assert layer.counts == OperationCounts(absolute_differences=taps, elementwise=wanted.size * each)

    register_schemas()
    del model.functions[:]
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    declared = inferred.graph.output[0].type.tensor_type
    assert declared.elem_type == onnx.helper.np_dtype_to_tensor_dtype(wanted.dtype)
