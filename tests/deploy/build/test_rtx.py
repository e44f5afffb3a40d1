"""Real plans by NVIDIA's tensorrt-rtx, which builds where no GPU is: the small presets.

tests/deploy/build/matrix.py builds all presets, by hand.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import onnx
import pytest
from syrupy.assertion import SnapshotAssertion

from adroit import files
from adroit.deploy.build.build import build_deployment
from adroit.deploy.build.choices import Backend, Precision
from adroit.deploy.build.job import MODEL, Job
from adroit.deploy.build.options import BuildOptions
from adroit.deploy.build.prepare import prepare
from adroit.deploy.build.process import run_in_process
from adroit.deploy.build.profiles import profiles_for, read_profile
from adroit.deploy.deployment.builds import TensorRTBuild
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.tensorrt.plan import read_plan_header
from adroit.errors import EnvironmentFault, UsageError
from adroit.files import sha256
from tests.conftest import Adroit

pytestmark = pytest.mark.usefixtures("rtx")


def copied(deployment: Deployment, folder: Path) -> Deployment:
    shutil.copytree(deployment.path, folder / "deployment")
    return Deployment.read(folder / "deployment")


@pytest.mark.parametrize(
    ("name", "profile", "precision"),
    [
        ("lenet_deployment", "live=image:1x1x32x32,4x1x32x32,8x1x32x32", Precision.fp32),
        ("resnet_deployment", "live=image:1x3x32x32", Precision.fp16),
        ("anti_aliased_deployment", "live=image:1x3x32x32,2x3x48x32,4x3x64x64", Precision.fp32),
        # Masked: this builder does not take the If form, whose branches reckon their shapes inside.
        ("masked_deployment", "live=image:1x3x128x128,1x3x128x160,2x3x256x256", Precision.fp32),
    ],
)
def test_the_portable_bodies_become_a_real_plan(
    name: str, profile: str, precision: Precision, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    deployment = copied(request.getfixturevalue(name), tmp_path)
    before = deployment.model_file.read_bytes()
    phases: list[str] = []
    options = BuildOptions(Backend.tensorrt_rtx, precision, [read_profile(profile)], [89])
    built = build_deployment(deployment, options, phases.append)
    header = read_plan_header(deployment.path / "2" / "model.plan")
    assert header.kind == "tensorrt-rtx"
    assert header.compute_capabilities == (89,)
    assert "Building engine" in phases
    assert deployment.model_file.read_bytes() == before

    record = Deployment.read(deployment.path).info.builds["2"]
    assert isinstance(record, TensorRTBuild) and record == built.record
    assert record.builder == f"tensorrt-rtx {'.'.join(map(str, header.version))}"
    assert (record.backend, record.precision, record.form) == ("tensorrt-rtx", str(precision), "functions")
    assert record.sha256 == sha256(deployment.path / "2" / "model.plan")
    assert set(record.profiles) == {"live"}
    assert record.plugins is None
    kept = deployment.path / "2" / "float32.json"
    assert kept.exists() == (precision == Precision.fp16)
    if precision == Precision.fp16:
        nodes = files.read_json(kept, "the list")["nodes"]
        assert {n["operator"] for n in nodes} >= {"AdderConv2d", "AdderConv2dAdd", "ReduceMean"}


def test_one_plan_may_serve_several_gpus(lenet: Deployment) -> None:
    built = build_deployment(lenet, BuildOptions(Backend.tensorrt_rtx, compute_capabilities=[120, 75, 75]))
    assert built.record.plan.compute_capabilities == (75, 120)


def test_triton_goes_on_with_the_exported_model(lenet: Deployment) -> None:
    before = (lenet.path / "config.pbtxt").read_text()
    build_deployment(lenet, BuildOptions(Backend.tensorrt_rtx, compute_capabilities=[89]))
    line = "version_policy {\n  specific {\n    versions: 1\n  }\n}\n"
    assert (lenet.path / "config.pbtxt").read_text().replace(line, "") == before


def test_a_failure_leaves_the_deployment_as_it_was(lenet: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the plan cannot be put into the deployment after all."""

    def full(path: Path, data: bytes) -> None:
        if path.name == "model.plan":
            raise OSError(28, "No space left on device")
        written(path, data)

    def listing() -> dict[str, bytes]:
        return {str(p.relative_to(lenet.path)): p.read_bytes() for p in lenet.path.rglob("*") if p.is_file()}

    written, before = files.write_bytes, listing()
    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(Exception, match="disk is full"):
        build_deployment(lenet, BuildOptions(Backend.tensorrt_rtx, compute_capabilities=[89]))
    after = listing()
    assert after.pop("config.pbtxt") != before.pop("config.pbtxt")  # already names version 1
    assert after == before


def test_a_node_that_became_no_plugin_is_an_error(lenet_deployment: Deployment, tmp_path: Path) -> None:
    """The node form without the plugin library: the parser takes the bodies, without a word."""
    prepared = prepare(lenet_deployment, "plugins", Precision.fp32)
    files.write_bytes(tmp_path / MODEL, prepared.content)
    job = Job("tensorrt-rtx", prepared.custom, None, profiles_for(lenet_deployment.info, []), (89,))
    with pytest.raises(EnvironmentFault) as caught:
        run_in_process(tmp_path, job)
    assert caught.value.message == "no plugin provides node 'features.0' (AdderConv2d)"
    assert caught.value.facts["requested"] == "AdderConv2d version 1 namespace 'adroit'"
    assert caught.value.facts["reason"] == "0 became plugins; the model has 4 nodes that need one"
    assert re.fullmatch(r"\d+ of others", caught.value.facts["registered"])


def test_a_float16_file_without_plugins_is_refused_by_the_same_words(
    lenet_deployment: Deployment, tmp_path: Path
) -> None:
    """It has no bodies, so here the parser itself finds nothing."""
    prepared = prepare(lenet_deployment, "plugins", Precision.fp16)
    files.write_bytes(tmp_path / MODEL, prepared.content)
    job = Job("tensorrt-rtx", prepared.custom, None, profiles_for(lenet_deployment.info, []), (89,))
    with pytest.raises(EnvironmentFault, match=r"no plugin provides node 'features\.0'"):
        run_in_process(tmp_path, job)


def test_a_node_that_no_parser_knows_is_told_by_name(lenet_deployment: Deployment, tmp_path: Path) -> None:
    model = prepare(lenet_deployment, "functions", Precision.fp32).model
    model.graph.node[0].op_type = "Frobnicate"
    model.graph.node[0].name = "strange"
    files.write_bytes(tmp_path / MODEL, model.SerializeToString())
    with pytest.raises(Exception, match="cannot read the model") as caught:
        run_in_process(tmp_path, Job("tensorrt-rtx", (), None, profiles_for(lenet_deployment.info, []), (89,)))
    assert "Frobnicate" in str(caught.value)


@pytest.mark.parametrize("text", ["89", "8.9", "sm_89", "SM89"])
def test_a_compute_capability_is_read(text: str) -> None:
    from adroit.deploy.build.options import read_compute_capability

    assert read_compute_capability(text) == 89


@pytest.mark.parametrize("text", ["90", "8.8", "ada", "", "sm_"])
def test_a_compute_capability_that_cannot_be_built_for_is_refused(text: str) -> None:
    from adroit.deploy.build.options import read_compute_capability

    with pytest.raises(UsageError, match="does not compile for"):
        read_compute_capability(text)


def test_the_command_prints_what_it_built(lenet: Deployment, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    result = adroit("build", lenet.path, "--backend", "tensorrt-rtx", "--compute-capability", "8.9")
    assert result.code == 0, result.err
    assert result.err.startswith("building: Building engine\n")
    text = result.out.replace(str(lenet.path), "DEPLOYMENT")
    assert re.sub(r"\d+\.\d+(\.\d+\.\d+)?|\d+(?= layers)", "#", text) == snapshot


def test_a_dry_run_checks_what_needs_no_gpu_and_writes_nothing(
    lenet: Deployment, adroit: Adroit, snapshot: SnapshotAssertion
) -> None:
    before = sorted(lenet.path.rglob("*"))
    result = adroit("build", lenet.path, "--backend", "tensorrt-rtx", "--compute-capability", "89", "--dry-run")
    assert result.code == 0, result.err
    assert re.sub(r"\d+\.\d+\.\d+\.\d+|\d{3,}", "#", result.out) == snapshot
    full = adroit("build", lenet.path, "--backend", "tensorrt", "--precision", "fp16", "--dry-run", "--json")
    lines = {line["what"].split(":")[0]: line["right"] for line in json.loads(full.out)}
    assert {"TensorRT", "plugin library", "GPU", "parser"} < set(lines)
    assert lines["parser"]
    assert sorted(lenet.path.rglob("*")) == before


def test_the_model_is_the_one_that_was_exported(lenet: Deployment) -> None:
    model = onnx.load(lenet.model_file)
    model.graph.node[0].name = "other"
    onnx.save(model, lenet.model_file)
    with pytest.raises(Exception, match="changed after its export"):
        build_deployment(lenet, BuildOptions(Backend.tensorrt_rtx, compute_capabilities=[89]))
