"""What `adroit export` writes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import export_deployment
from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.deploy.passes.graph import MODULE_KEY
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.torch_runtime import load_reference
from adroit.errors import UsageError
from adroit.files import sha256
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def model(resnet_deployment: Deployment) -> onnx.ModelProto:
    return resnet_deployment.load_model()


def custom(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [n for n in model.graph.node if n.domain == DOMAIN]


def test_every_adder_layer_is_one_node_with_everything_folded_in(model: onnx.ModelProto) -> None:
    kinds = [n.op_type for n in model.graph.node]
    assert kinds.count("AdderConv2d") == 11
    assert kinds.count("AdderConv2dAdd") == 9
    assert not {"BatchNormalization", "Add"} & set(kinds)
    assert kinds.count("Relu") == 1  # behind the first, ordinary convolution


def test_nodes_are_stamped_for_tensorrt(model: onnx.ModelProto) -> None:
    for node in custom(model):
        stamps = {a.name: a.s for a in node.attribute if a.type == onnx.AttributeProto.STRING}
        version = str(operators()[node.op_type].version).encode()
        assert stamps == {"plugin_namespace": b"adroit", "plugin_version": version}


def test_bodies_come_with_the_model(model: onnx.ModelProto) -> None:
    assert {f.name for f in model.functions} == {"AdderConv2d", "AdderConv2dAdd"}


def test_names_follow_the_modules(model: onnx.ModelProto, resnet_deployment: Deployment) -> None:
    modules = dict(load_reference(resnet_deployment).named_modules())
    names = [n.name for n in model.graph.node]
    assert len(names) == len(set(names))
    for node in custom(model):
        assert node.name in modules
        assert [p.key for p in node.metadata_props] == [MODULE_KEY]


def test_nothing_of_this_machine_is_in_the_file(resnet_deployment: Deployment) -> None:
    content = resnet_deployment.model_file.read_bytes()
    for private in (str(ROOT), str(Path.home()), "site-packages", ".py"):
        assert private.encode() not in content


def test_the_same_checkpoint_gives_the_same_bytes_in_another_process(
    resnet_checkpoint: Path, resnet_deployment: Deployment, tmp_path: Path
) -> None:
    code = (
        "from pathlib import Path; from adroit.deploy.export.deployment import export_deployment;"
        f"export_deployment(Path({str(resnet_checkpoint)!r}), Path({str(tmp_path)!r}))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env={"PYTHONHASHSEED": "7", "PATH": ""})
    again = Deployment.read(tmp_path / "adder-resnet20")
    for file in ("1/model.onnx", "config.pbtxt", "adroit.json", "reference/model.safetensors"):
        assert sha256(again.path / file) == sha256(resnet_deployment.path / file), file


def test_portable_form_has_standard_operators_only(resnet_checkpoint: Path, tmp_path: Path) -> None:
    deployment = export_deployment(resnet_checkpoint, tmp_path, "portable", "portable")
    model = deployment.load_model()
    assert {n.domain for n in model.graph.node} == {""}
    assert not model.functions
    assert [o.domain for o in model.opset_import] == [""]


def test_exporting_again_replaces_the_deployment_and_leaves_nothing_else(
    resnet_checkpoint: Path, resnet_deployment: Deployment, tmp_path: Path
) -> None:
    shutil.copytree(resnet_deployment.path, tmp_path / "adder-resnet20")
    (tmp_path / "adder-resnet20" / "of the old one").touch()
    with pytest.raises(UsageError, match="would delete more than its model"):
        export_deployment(resnet_checkpoint, tmp_path)
    export_deployment(resnet_checkpoint, tmp_path, replace=True)
    assert not (tmp_path / "adder-resnet20" / "of the old one").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["adder-resnet20"]


@pytest.mark.parametrize("size", [(32, 32), (40, 56), (33, 47)])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("form", list(OperatorForm))
def test_batch_height_and_width_are_free(
    size: tuple[int, int], batch: int, form: OperatorForm, resnet_deployment: Deployment
) -> None:
    x = np.random.default_rng(0).standard_normal((batch, 3, *size), np.float32)
    outputs = []
    for options in (RuntimeOptions(operators=form), RuntimeOptions(RuntimeName.torch)):
        try:
            with open_runtime(resnet_deployment, options) as runtime:
                outputs.append(runtime.run({"image": x})["logits"])
        except Exception as error:
            if "library is missing" in str(error):
                pytest.skip(str(error))
            raise
    np.testing.assert_allclose(*outputs, atol=2e-3)


def test_triton_reads_the_config(resnet_deployment: Deployment) -> None:
    """The whole of it is held to Triton's schema, and to a real Triton, in tests/deploy/serve."""
    text = (resnet_deployment.path / "config.pbtxt").read_text()
    for part in (
        'name: "adder-resnet20"\n', 'backend: "onnxruntime"\n', "max_batch_size: 16\n",
        'input {\n  name: "image"\n  data_type: TYPE_FP32\n  dims: 3\n  dims: -1\n  dims: -1\n}\n',
        'output {\n  name: "logits"\n  data_type: TYPE_FP32\n  dims: 10\n}\n',
    ):  # fmt: skip
        assert part in text
