"""AdderConv2d and AdderConv2dAdd: torch, portable body and native library against float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from torch.nn import functional

from adroit.deploy.parity.tolerance import compare, rounding_limit
from adroit.errors import UsageError
from adroit.models.layers.adder import AdderConv2d
from adroit.models.operators.adder_conv2d import adder_conv2d
from tests.operators.cases.adder_conv2d import CASES, Case, attributes, exact_and_limit, exact_sum, make_inputs
from tests.operators.harness import FORMS, node_model, run_node

BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def model_of(case: Case, inputs: dict[str, np.ndarray], constants: tuple[str, ...]) -> object:
    operator = "AdderConv2dAdd" if case.residual else "AdderConv2d"
    return node_model(operator, inputs, attributes(case), constants, ["AdderConv2d"] if case.residual else [])


LAYERS = [
    Case("as in a ResNet", (1, 16, 14, 14), 20, (3, 3), 1, 1),
    Case("as in a ResNet, stride 2", (1, 24, 13, 13), 70, (3, 3), 2, 1),
    Case("as in a ResNet, one by one", (2, 200, 6, 6), 20, (1, 1)),
    Case("as in a ResNet, many taps", (1, 512, 7, 7), 9, (3, 3), 1, 1),
]


def behind_relu(inputs: dict[str, np.ndarray]) -> None:
    inputs["X"] = np.maximum(inputs["X"], 0.0)


def near_100(inputs: dict[str, np.ndarray]) -> None:
    """Values that differ in their last bits: sums of maxima would lose all of the differences."""
    random = np.random.default_rng(0)
    for name in ("X", "W"):
        inputs[name] = (100.0 + 0.01 * random.uniform(-1.0, 1.0, inputs[name].shape)).astype(np.float32)


def one_filter_met_exactly(inputs: dict[str, np.ndarray]) -> None:
    """X everywhere as the first filter: that sum of differences is 0 but for padding."""
    inputs["W"] = np.abs(inputs["W"])
    inputs["W"][0] = inputs["W"][0, :, :1, :1]
    inputs["X"] = np.broadcast_to(inputs["W"][0, :, 0, 0, None, None], inputs["X"].shape).copy()


def with_a_nan_and_an_infinity(inputs: dict[str, np.ndarray]) -> None:
    behind_relu(inputs)
    inputs["X"][0, 1, 2, 3], inputs["X"][0, 0, 5, 5] = np.nan, np.inf


@pytest.mark.parametrize("case", LAYERS, ids=lambda c: c.name)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("data", [behind_relu, near_100, one_filter_met_exactly], ids=lambda d: d.__name__)
def test_any_data_is_within_the_limit(case: Case, form: str, data: Callable[[dict[str, np.ndarray]], None]) -> None:
    inputs = make_inputs(case)
    data(inputs)
    (y,) = run_node(model_of(case, inputs, ("W", "scale", "shift")), inputs, form)
    result = compare(y, *exact_and_limit(inputs, case))
    assert result.passed, result


@pytest.mark.parametrize("form", FORMS)
def test_nan_and_infinity_pass(form: str) -> None:
    inputs = make_inputs(LAYERS[0])
    with_a_nan_and_an_infinity(inputs)
    (y,) = run_node(model_of(LAYERS[0], inputs, ("W", "scale", "shift")), inputs, form)
    with np.errstate(invalid="ignore"):
        expected, limit = exact_and_limit(inputs, LAYERS[0])
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(expected))
    finite = np.isfinite(expected)
    assert (np.abs(y[finite] - expected[finite]) <= limit[finite]).all()


@BY_NAME
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("constants", [(), ("W", "scale", "shift")], ids=["weights fed", "weights constant"])
def test_onnx_is_within_the_limit(case: Case, form: str, constants: tuple[str, ...]) -> None:
    inputs = make_inputs(case)
    (y,) = run_node(model_of(case, inputs, constants), inputs, form)
    result = compare(y, *exact_and_limit(inputs, case))
    assert result.passed, result


@BY_NAME
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_torch_is_within_the_limit(case: Case, dtype: torch.dtype) -> None:
    inputs = make_inputs(case)
    x, w = (torch.tensor(inputs[k], dtype=dtype) for k in ("X", "W"))
    y = adder_conv2d(x, w, case.stride, case.padding).numpy()
    total = exact_sum(inputs, case)
    kind = str(dtype).removeprefix("torch.")
    limit = rounding_limit(total, total, inputs["W"][0].size, kind, kind)
    assert compare(y, -total, limit).passed


def test_torch_takes_a_non_contiguous_input() -> None:
    x = torch.randn(2, 9, 6, 7).transpose(2, 3)[:, ::2]
    w = torch.randn(4, 5, 3, 3)
    assert torch.equal(adder_conv2d(x, w, 1, 1), adder_conv2d(x.contiguous(), w, 1, 1))


def test_results_do_not_depend_on_threads() -> None:
    case = Case("threads", (2, 19, 23, 29), 37, (3, 3), 1, 1)
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
    ],
)
@pytest.mark.parametrize("where", ["torch", "native"])
def test_wrong_shapes_are_refused(x: tuple[int, ...], w: tuple[int, ...], message: str, where: str) -> None:
    inputs = {
        "X": np.zeros(x, np.float32),
        "W": np.zeros(w, np.float32),
        "scale": np.ones(w[0], np.float32),
        "shift": np.zeros(w[0], np.float32),
    }
    if where == "torch":
        with pytest.raises(UsageError, match=message):
            adder_conv2d(torch.tensor(inputs["X"]), torch.tensor(inputs["W"]), 1, 0)
        return
    model = node_model("AdderConv2d", inputs, {"strides": [1, 1], "pads": [0] * 4, "activation": 0})
    with pytest.raises(InvalidArgument, match=message):
        run_node(model, inputs, "native")


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (3, 0)])
def test_gradients_are_the_papers(stride: int, padding: int) -> None:
    """Against a direct loop over equations 6, 7 and 12 in float64."""
    eta = 0.2
    torch.manual_seed(0)
    layer = AdderConv2d(3, 4, 3, stride, padding, eta).double()
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    g = torch.randn_like(out)
    out.backward(g)

    padded = functional.pad(x.detach(), [padding] * 4)
    grad_w = torch.zeros_like(layer.weight)
    grad_padded = torch.zeros_like(padded)
    for n, m, oh, ow in np.ndindex(*out.shape):
        rows, columns = slice(oh * stride, oh * stride + 3), slice(ow * stride, ow * stride + 3)
        window, weight = padded[n, :, rows, columns], layer.weight.detach()[m]
        grad_w[m] += (window - weight) * g[n, m, oh, ow]
        grad_padded[n, :, rows, columns] += (weight - window).clamp(-1, 1) * g[n, m, oh, ow]
    grad_w *= eta * grad_w.numel() ** 0.5 / grad_w.norm()
    grad_x = grad_padded[:, :, padding : padding + 7, padding : padding + 6]
    torch.testing.assert_close(layer.weight.grad, grad_w, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(x.grad, grad_x, rtol=1e-12, atol=1e-12)


def test_the_weight_gradient_ignores_the_scale_of_the_loss() -> None:
    layer = AdderConv2d(2, 3, 3)
    x = torch.randn(1, 2, 6, 6)
    gradients = []
    for scale in (1.0, 1024.0):
        layer.weight.grad = None
        (layer(x).sum() * scale).backward()
        gradients.append(layer.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    norm = float(gradients[0].norm())
    assert norm == pytest.approx(0.2 * layer.weight.numel() ** 0.5, rel=1e-5)
