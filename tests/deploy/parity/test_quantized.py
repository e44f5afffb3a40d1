"""`adroit check` of a deployment in 8 bits finds what is wrong, and names the part that is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.parity.quantized import check_quantized
from adroit.deploy.parity.report import ParityReport
from adroit.deploy.quantize.quantize import QuantizeOptions, quantize_deployment
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.onnxruntime_runtime import OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UsageError
from adroit.models.data.images import read_images
from tests.conftest import Adroit
from tests.deploy.records import rewritten

KEPT = "layer2.0.conv1"
OPTIONS = RuntimeOptions(threads=1)


@pytest.fixture(scope="module")
def quantized(resnet_deployment: Deployment, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A network with one layer left in float32."""
    options = QuantizeOptions(keep_float=(KEPT,), threads=1)
    folder = tmp_path_factory.mktemp("quantized")
    return quantize_deployment(resnet_deployment, read_images(images), "images", folder, options=options).deployment


def _check(deployment: Deployment, images: Path, layers: bool = False) -> ParityReport:
    return check_quantized(deployment, read_images(images).first(4), OPTIONS, layers)


def test_a_right_deployment_passes_in_every_part(quantized: Deployment, images: Path) -> None:
    report = _check(quantized, images, layers=True)
    assert report.passed and report.first_wrong_layer is None
    assert len(report.layers) == 19 + 2 + 1 - 1  # quantized layers, stem, kept layer; the logits stand apart
    integers = [layer.comparison for layer in report.layers if layer.node.startswith("layer")]
    assert max(c.error for c in integers if c.limit == 0) == 0
    assert report.output.used > 0 and report.top1 is not None


def _attribute(name: str, change: Callable[[float], float]) -> Callable[[onnx.GraphProto], None]:
    def corrupt(graph: onnx.GraphProto) -> None:
        node = next(n for n in graph.node if n.name == "layer2.1.conv1")
        attribute = next(a for a in node.attribute if a.name == name)
        if attribute.type == onnx.AttributeProto.FLOAT:
            attribute.f = change(attribute.f)
        else:
            attribute.i = int(change(attribute.i))

    return corrupt


def _constant(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.GraphProto], None]:
    def corrupt(graph: onnx.GraphProto) -> None:
        tensor = next(t for t in graph.initializer if t.name == name)
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(change(array).astype(array.dtype), name))

    return corrupt


FAULTS = {
    "an output scale that is a little wrong": (_attribute("output_scale", lambda s: s * 1.01), "layer2.1.conv1"),
    "an output zero point that is wrong": (_attribute("output_zero_point", lambda z: z + 1), "layer2.1.conv1"),
    "padding with another number": (_attribute("x_zero_point", lambda z: z + 1), "layer2.1.conv1"),
    "one weight of 9,216 wrong by one step": (
        _constant(
            "layer2.1.conv1.quantized_weight",
            lambda w: w ^ (np.indices(w.shape).sum(0) == 0),
        ),
        "layer2.1.conv1",
    ),
    "a first convolution that is a little wrong": (_constant("bn1.folded_weight", lambda w: w * 1.001), "relu"),
    "a kept layer that is a little wrong": (_constant(f"{KEPT[:-5]}bn1.shift", lambda b: b + 0.01), "layer2.0.relu1"),
    "a classifier that is a little wrong": (_constant("bn2.folded_bias", lambda b: b + 1e-3), ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_runtime_that_computes_another_network_fails(
    fault: str, quantized: Deployment, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime gets a changed model, as if its kernels were wrong; the check knows the right one."""
    corrupt, part = FAULTS[fault]
    start = OnnxRuntime.__init__

    def wrong(self: OnnxRuntime, model: onnx.ModelProto, *arguments: object, **named: object) -> None:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        corrupt(changed.graph)
        start(self, changed, *arguments, **named)

    monkeypatch.setattr(OnnxRuntime, "__init__", wrong)
    report = _check(quantized, images)
    assert not report.passed
    named = report.first_wrong_layer.node if report.first_wrong_layer else ""
    assert named == part


def test_what_it_cannot_check_is_refused(quantized: Deployment, images: Path) -> None:
    with pytest.raises(UsageError, match="part by part"):
        check_quantized(quantized, read_images(images), RuntimeOptions(runtime=RuntimeName.torch))


def test_an_operator_it_does_not_know_has_a_measured_limit_and_is_named(
    quantized: Deployment, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = quantized.load_model()
    next(n for n in model.graph.node if n.op_type == "Relu").op_type = "Softsign"
    monkeypatch.setattr(Deployment, "load_model", lambda self: model)
    report = _check(quantized, images)
    assert report.passed, report.first_wrong_layer
    assert "ai.onnx::Softsign" in report.empirical


def test_the_command_tells_accuracy_before_and_after(quantized: Deployment, images: Path, adroit: Adroit) -> None:
    result = adroit("check", quantized.path, "--data", images, "--images", 4, "--threads", 1)
    assert result.code == 0, result.err
    assert "top-1 accuracy" in result.out and "float64 network" in result.out and "PASSED" in result.out
    assert Deployment.read(quantized.path).info.parity is not None
    rewritten(quantized, parity=None)
