"""Seeded faults of building and of opening a build: one clear error each, the right exit code, nothing half-written.

Where NVIDIA's package must be there, or must not, a stand-in of a few lines takes its place.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from syrupy.assertion import SnapshotAssertion

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import MODEL_FILE
from adroit.deploy.deployment.records import ModelRecord
from adroit.deploy.export.deployment import export_deployment
from adroit.files import sha256
from tests.conftest import Adroit
from tests.deploy.build.test_plan import tensorrt_header, write
from tests.deploy.records import plan_record, rewritten

RTX = ["--backend", "tensorrt-rtx", "--compute-capability", "89"]
FULL = ["--backend", "tensorrt"]


@dataclass(frozen=True)
class Scene:
    """A folder with a deployment to build in, and a folder that Python imports from first."""

    deployment: Deployment
    modules: Path
    images: Path
    checkpoint: Path

    def module(self, name: str, text: str) -> None:
        (self.modules / f"{name}.py").write_text(text)

    def build(self, *arguments: object) -> list[object]:
        return ["build", self.deployment.path, *arguments]


@dataclass(frozen=True)
class Fault:
    make: Callable[[Scene], list[object]]
    code: int
    needs_rtx: bool = False

    @property
    def name(self) -> str:
        return self.make.__name__.replace("_", " ")


IN_WORKER = "import sys\nif 'adroit.deploy.build.worker' in sys.orig_argv:\n"
# What TensorRT's library looks like in the list of a process's files.
MAPPED = """
import mmap, pathlib
kept = []
def load(name):
    path = pathlib.Path(__file__).with_name(name)
    path.write_bytes(bytes(4096))
    with open(path) as file:
        kept.append(mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC))
"""
SDK = '__version__ = "11.4.0.106"\nclass Runtime: pass\n'


def out_of_memory(scene: Scene) -> list[object]:
    """The builder logs it and returns nothing. Its words are those of TensorRT 10 and 11."""
    scene.module(
        "sitecustomize",
        IN_WORKER
        + "    import tensorrt_rtx as trt\n"
        + "    def build(self, network, config):\n"
        + "        self.logger.log(trt.ILogger.ERROR, 'Error Code 2: OutOfMemory (Requested size was 17 bytes.)')\n"
        + "    trt.Builder.build_serialized_network = build\n",
    )
    return scene.build(*RTX)


def killed_for_its_memory(scene: Scene) -> list[object]:
    """On a small Jetson the system ends the process, and a shell says 'Killed' and no more."""
    scene.module("sitecustomize", IN_WORKER + "    import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n")
    return scene.build(*RTX)


def aborted_by_the_library(scene: Scene) -> list[object]:
    """NVIDIA's code may end its process: ours must live and tell."""
    scene.module("sitecustomize", IN_WORKER + "    import os; os.write(1, b'terminate called\\n'); os.abort()\n")
    return scene.build(*RTX)


def unsupported_precision_of_the_form(scene: Scene) -> list[object]:
    """A portable file's nodes no longer tell which of them must stay float32."""
    deployment = export_deployment(scene.checkpoint, scene.deployment.path.parent, "portable", "portable")
    return ["build", deployment.path, *RTX, "--precision", "fp16"]


def unsupported_precision_of_the_backend(scene: Scene) -> list[object]:
    """ONNX Runtime would take the file, and compute it in float32."""
    return scene.build("--backend", "onnxruntime", "--precision", "fp16")


def missing_sdk(scene: Scene) -> list[object]:
    """The package is there and its library is not, as after an upgrade of half of it."""
    scene.module("tensorrt", "raise ImportError('libnvinfer.so.11: cannot open shared object file')\n")
    return scene.build(*FULL)


def missing_plugin_library(scene: Scene) -> list[object]:
    """Found out before the build, not by the parser minutes later."""
    scene.module("tensorrt", SDK)
    return scene.build(*FULL)


def two_tensorrts(scene: Scene) -> list[object]:
    """Another package brought TensorRT 10 into the process: which of the two answers is chance."""
    scene.module("tensorrt", MAPPED + "load('libnvinfer.so.10'); load('libnvinfer.so.11')\n" + SDK)
    return scene.build(*FULL)


def profile_min_above_max(scene: Scene) -> list[object]:
    """TensorRT's own message has neither the input nor the numbers."""
    return scene.build(*RTX, "--profile", "live=image:8x1x32x32,8x1x32x32,4x1x32x32")


def attribute_beyond_32_bits(scene: Scene) -> list[object]:
    """The parser would hand the plugin a 0, without a word."""
    model = onnx.load(scene.deployment.model_file)
    strides = next(a for n in model.graph.node for a in n.attribute if a.name == "strides")
    strides.ints[0] = 2**33
    onnx.save(model, scene.deployment.model_file)
    rewritten(scene.deployment, model=ModelRecord(MODEL_FILE, sha256(scene.deployment.model_file)))
    return scene.build(*RTX)


def plan_of_another_tensorrt(scene: Scene) -> list[object]:
    """TensorRT 11 says of it 'magic tag does not match'; older ones crashed."""
    scene.module("tensorrt", MAPPED + "load('libnvinfer.so.11')\n" + SDK)
    path = scene.deployment.path / "2" / "model.plan"
    path.parent.mkdir()
    write(path, tensorrt_header((10, 3, 0, 26)), 100)
    record = plan_record(sha256=sha256(path), model=scene.deployment.info.model.sha256)
    rewritten(scene.deployment, builds={"2": record})
    return ["run", scene.deployment.path, "--data", scene.images, "--top", 1, "--runtime", "tensorrt"]


def plan_that_was_never_built(scene: Scene) -> list[object]:
    """The exported model is there, an engine of it is not."""
    return ["run", scene.deployment.path, "--data", scene.images, "--top", 1, "--runtime", "tensorrt-rtx"]


FAULTS = [
    Fault(out_of_memory, 7, needs_rtx=True),
    Fault(killed_for_its_memory, 7),
    Fault(aborted_by_the_library, 6),
    Fault(unsupported_precision_of_the_form, 6),
    Fault(unsupported_precision_of_the_backend, 6),
    Fault(missing_sdk, 5),
    Fault(missing_plugin_library, 5),
    Fault(two_tensorrts, 5),
    Fault(profile_min_above_max, 2),
    Fault(attribute_beyond_32_bits, 6),
    Fault(plan_of_another_tensorrt, 5),
    Fault(plan_that_was_never_built, 2),
]


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_fault(
    fault: Fault, lenet: Deployment, lenet_checkpoint: Path, images: Path, tmp_path: Path, adroit: Adroit,
    snapshot: SnapshotAssertion, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    if fault.needs_rtx:
        request.getfixturevalue("rtx")
    scene = Scene(lenet, tmp_path / "modules", images, lenet_checkpoint)
    scene.modules.mkdir()
    command = fault.make(scene)
    before = listing(lenet.path)
    environment = {
        "PYTHONPATH": str(scene.modules),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ADROIT_TENSORRT_LIBRARY": "/nowhere/libadroit_tensorrt.so",
    }
    result = adroit(*command, environment=environment)
    assert result.code == fault.code, result.err
    assert "Traceback" not in result.err
    assert listing(lenet.path) == before
    message = result.err[result.err.index("error: ") :]
    for path, name in ((lenet.path, "DEPLOYMENT"), (scene.modules, "MODULES"), (tmp_path, "FOLDER")):
        message = message.replace(str(path), name)
    assert message == snapshot


def test_a_record_that_points_elsewhere_is_refused(lenet: Deployment, adroit: Adroit, images: Path) -> None:
    """adroit.json comes with a deployment, from anyone: what it names must lie in the deployment."""
    shutil.copy(images, lenet.path / "model.plan")
    plan = {"kind": "tensorrt-rtx", "version": "1.7", "compute_capabilities": [89]}
    build = {
        "backend": "tensorrt-rtx", "precision": "fp32", "model": "0", "adroit": "0", "builder": "tensorrt_rtx 1.7",
        "file": "../../model.plan", "sha256": "0", "bytes": 1, "form": "functions", "profiles": {}, "plan": plan,
        "layers": 1, "gpu": None, "plugins": None, "version_compatible": False, "weights_stripped": False, "keep": [],
        "seconds": 1.0,
    }  # fmt: skip
    builds = {"2": build}
    description = {**json.loads((lenet.path / "adroit.json").read_text()), "builds": builds}
    (lenet.path / "adroit.json").write_text(json.dumps(description))
    result = adroit("run", lenet.path, "--data", images, "--top", 1, "--runtime", "tensorrt-rtx")
    assert result.code == 2
    assert re.search("the file of build 2 is", result.err)
