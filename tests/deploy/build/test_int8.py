"""8-bit deployments as TensorRT gets them: int8 in the place of uint8, the same sums."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from adroit.deploy.build.build import dry_run
from adroit.deploy.build.choices import Backend, Precision
from adroit.deploy.build.int8 import lower_to_int8
from adroit.deploy.build.options import BuildOptions
from adroit.deploy.build.prepare import prepare
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.operators.schemas import register_schemas
from adroit.deploy.quantize.quantize import QuantizeOptions, quantize_deployment
from adroit.deploy.quantize.sensitivity import logits_of
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UnsupportedModel
from adroit.models.data.images import read_images
from tests.deploy.build.test_parser import OURS, parse


@pytest.fixture(scope="module")
def quantized(resnet_deployment: Deployment, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """With a layer kept in float32, so that there is a DequantizeLinear too."""
    options = QuantizeOptions(keep_float=("layer1.1.conv1",), threads=1)
    folder = tmp_path_factory.mktemp("quantized")
    return quantize_deployment(resnet_deployment, read_images(images), "images", folder, options=options).deployment


def test_the_numbers_stay(quantized: Deployment, images: Path) -> None:
    """All but those that a rounding of the first quantization moves by one step, in few images."""
    model, run = quantized.load_model(), RuntimeOptions(threads=1)
    before, after = (logits_of(quantized, m, read_images(images), run) for m in (model, lower_to_int8(model)))
    assert (before == after).all(1).sum() >= 9  # of 12
    np.testing.assert_allclose(after, before, atol=0.05 * float(before.std()))


def test_no_uint8_is_left(quantized: Deployment) -> None:
    model = lower_to_int8(quantized.load_model())
    register_schemas()
    onnx.checker.check_model(model, full_check=True)
    typed = onnx.shape_inference.infer_shapes(model)
    kinds = Counter(value.type.tensor_type.elem_type for value in typed.graph.value_info)
    kinds += Counter(tensor.data_type for tensor in model.graph.initializer)
    assert kinds[TensorProto.UINT8] == 0 and kinds[TensorProto.INT8] > 0
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    linear = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(linear) == 3 and all(constants[node.input[2]] == 0 for node in linear)


def test_a_model_of_floats_is_left_alone(resnet_deployment: Deployment) -> None:
    model = resnet_deployment.load_model()
    assert lower_to_int8(model) is model


@pytest.mark.usefixtures("rtx")
def test_nvidias_parser_reads_it_and_asks_for_the_plugin(quantized: Deployment, tmp_path: Path) -> None:
    forms = [prepare(quantized, form, Precision.fp32).model for form in ("functions", "plugins")]
    bodies, plugins = parse(tmp_path, forms, OURS)
    assert bodies["taken"], bodies["errors"]
    first = plugins["requests"][0]
    assert first["operator"] == "QAdderConv2d" and first["fields"]["x_zero_point"] == ["INT32", [-128]]


@pytest.mark.usefixtures("rtx")
def test_a_dry_run_for_tensorrt_reads_it(quantized: Deployment) -> None:
    lines = dry_run(quantized, BuildOptions(Backend.tensorrt, Precision.fp32))
    (parser,) = [line for line in lines if line.what.startswith("parser")]
    assert parser.right, parser.what


@pytest.mark.parametrize(("backend", "precision"), [(Backend.tensorrt_rtx, "fp32"), (Backend.tensorrt, "fp16")])
def test_what_it_cannot_be_built_for_is_told(backend: Backend, precision: str, quantized: Deployment) -> None:
    capabilities = (89,) if backend == Backend.tensorrt_rtx else ()
    with pytest.raises(UnsupportedModel, match="8 bits"):
        dry_run(quantized, BuildOptions(backend, Precision(precision), compute_capabilities=capabilities))
