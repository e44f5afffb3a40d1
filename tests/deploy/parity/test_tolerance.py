"""The tolerance model: right implementations pass, wrong ones do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.parity.check import _with_layer_outputs
from adroit.deploy.parity.rounding_model import run_with_limits
from adroit.deploy.parity.tolerance import compare, rounding_limit
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.torch_runtime import load_reference
from adroit.models.data.images import read_images
from adroit.models.operators.adder_conv2d import adder_conv2d


@pytest.mark.parametrize("seed", range(200))
def test_correct_sums_stay_below_the_limit(seed: int) -> None:
    """Five float32 orders of summation a seed, over sizes and magnitudes: 1,000 correct cases."""
    random = np.random.default_rng(seed)
    terms = int(random.integers(1, 5000))
    values = (random.standard_normal((8, terms)) * 10.0 ** random.integers(-3, 4)).astype(np.float32)
    exact = values.astype(np.float64).sum(1)
    limit = rounding_limit(exact, np.abs(values).astype(np.float64).sum(1), terms)
    for order in (values, values[:, ::-1], np.sort(values, 1), values[:, random.permutation(terms)]):
        running = np.zeros(8, np.float32)
        for column in order.T:
            running += column
        assert compare(running, exact, limit).passed
    assert compare(values.sum(1, dtype=np.float32), exact, limit).passed


def test_half_precision_sums_are_over_the_limit() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(1, 64, 8, 8), torch.randn(16, 64, 3, 3)
    exact = adder_conv2d(x.double(), w.double(), 1, 1).numpy()
    limit = rounding_limit(exact, np.abs(exact), 576)
    rounded = adder_conv2d(x, w, 1, 1).half().float().numpy()
    assert compare(adder_conv2d(x, w, 1, 1).numpy(), exact, limit).used < 0.5
    assert compare(rounded, exact, limit).used > 10


def test_nan_and_wrong_shapes_are_never_within_the_limit() -> None:
    exact = np.ones((2, 3))
    wrong = exact.astype(np.float32)
    wrong[1, 2] = np.nan
    result = compare(wrong, exact, np.full((2, 3), 1e9))
    assert not result.passed
    assert result.worst == (1, 2)
    assert not compare(np.ones((2, 2), np.float32), exact, np.ones((2, 3))).passed


def test_an_exact_zero_needs_no_limit() -> None:
    zero = np.zeros(3)
    assert compare(zero.astype(np.float32), zero, zero).used == 0.0


def _array(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def _edit(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        tensor = _array(model, name)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(numpy_helper.to_array(tensor))), name))

    return apply


def _attribute(node: str, name: str, values: list[int]) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        (target,) = [n for n in model.graph.node if n.name == node]
        (attribute,) = [a for a in target.attribute if a.name == name]
        attribute.CopyFrom(onnx.helper.make_attribute(name, values if len(values) > 1 else values[0]))

    return apply


def _input(node: str, index: int, name: str) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        (target,) = [n for n in model.graph.node if n.name == node]
        target.input[index] = name

    return apply


@dataclass(frozen=True)
class Fault:
    """A change that makes the deployment wrong, and the module whose output is wrong first."""

    name: str
    change: Callable[[onnx.ModelProto], None]
    first: str


def _one_tap_wrong(w: np.ndarray) -> np.ndarray:
    w = w.copy()
    w[:, 5, 1, 2] += 3.0
    return w


def _one_tap_of_one_filter_wrong(w: np.ndarray) -> np.ndarray:
    w = w.copy()
    w[3, 5, 1, 2] += 1.0
    return w


def _bfloat16(w: np.ndarray) -> np.ndarray:
    return (w.view(np.uint32) & 0xFFFF0000).view(np.float32)


FAULTS = [
    Fault("one tap of every filter wrong", _edit("layer1.1.conv1.weight", _one_tap_wrong), "layer1.1.relu1"),
    Fault("taps shifted by one", _edit("layer1.0.conv1.weight", lambda w: np.roll(w, 1, 3)), "layer1.0.relu1"),
    Fault("kernel turned", _edit("layer2.0.conv1.weight", lambda w: w.transpose(0, 1, 3, 2)), "layer2.0.relu1"),
    Fault("channels swapped", _edit("layer1.2.conv2.weight", lambda w: w[:, ::-1]), "layer1.2.relu2"),
    Fault("filters swapped", _edit("layer2.1.conv1.weight", lambda w: w[::-1]), "layer2.1.relu1"),
    Fault(
        "weights cut to bfloat16",
        _edit("layer1.0.conv1.weight", _bfloat16),
        "layer1.0.relu1",
    ),
    Fault("scale of the wrong sign", _edit("layer2.0.downsample.1.scale", lambda s: -s), "layer2.0.downsample.1"),
    Fault("epsilon forgotten", _edit("layer1.0.bn1.scale", lambda s: s * np.float32(1 + 1e-4)), "layer1.0.relu1"),
    Fault("shift off by a little", _edit("layer3.1.bn1.shift", lambda s: s + np.float32(0.02)), "layer3.1.relu1"),
    Fault("padding on the wrong side", _attribute("layer1.1.conv2", "pads", [2, 1, 0, 1]), "layer1.1.relu2"),
    Fault("activation lost", _attribute("layer2.2.conv1", "activation", [0]), "layer2.2.relu1"),
    Fault("residual of another block", _input("layer1.2.conv2", 4, "layer1.0.relu2"), "layer1.2.relu2"),
]


@pytest.fixture(scope="module")
def photographs(resnet_deployment: Deployment, images: object) -> torch.Tensor:
    _, x = next(read_images(str(images)).batches(resnet_deployment.info.preprocessing, 4))
    return torch.from_numpy(x)


def _first_wrong(model: onnx.ModelProto, deployment: Deployment, x: torch.Tensor) -> tuple[float, str | None]:
    network = load_reference(deployment).double()
    wider, nodes = _with_layer_outputs(model, {path for path, _ in network.named_modules() if path})
    references, limits = run_with_limits(network, x.double(), ["", *nodes])
    with OnnxRuntime(wider, RuntimeOptions(operators=OperatorForm.portable), True) as runtime:
        values = runtime.run({"image": x.numpy()})
    output = compare(values["logits"], references[""].numpy(), limits[""].numpy()).used
    for module in nodes:
        if not compare(values[module], references[module].numpy(), limits[module].numpy()).passed:
            return output, module
    return output, None


def test_the_right_deployment_is_well_within_the_limit(
    resnet_deployment: Deployment, photographs: torch.Tensor
) -> None:
    output, wrong = _first_wrong(resnet_deployment.load_model(), resnet_deployment, photographs)
    assert wrong is None
    assert output < 0.5


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_wrong_deployment_is_found_and_its_layer_named(
    fault: Fault, resnet_deployment: Deployment, photographs: torch.Tensor
) -> None:
    model = resnet_deployment.load_model()
    fault.change(model)
    output, first = _first_wrong(model, resnet_deployment, photographs)
    assert first == fault.first
    assert output > 1


def test_a_fault_too_small_for_the_logits_is_found_by_its_layer(
    resnet_deployment: Deployment, photographs: torch.Tensor
) -> None:
    """One tap of one filter: the logits stay within the limit, so only `--layers` can tell."""
    model = resnet_deployment.load_model()
    _edit("layer1.1.conv1.weight", _one_tap_of_one_filter_wrong)(model)
    assert _first_wrong(model, resnet_deployment, photographs)[1] == "layer1.1.relu1"
