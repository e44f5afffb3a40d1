"""The TensorRT path up to the builder's own call, and the plugin registry: with tensorrt-rtx's classes.

The interfaces coincide, so a stand-in module `tensorrt` of its classes takes everything that the
full TensorRT would be given; the build itself, which needs a GPU there, writes down what it got.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adroit import files
from adroit.deploy.build.builder import _build_error, _timing_cache
from adroit.deploy.build.choices import Precision
from adroit.deploy.build.job import CACHE, MODEL, PLAN, Job
from adroit.deploy.build.prepare import prepare
from adroit.deploy.build.process import run_in_process
from adroit.deploy.build.profiles import profiles_for, read_profile
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.tensorrt.near_miss import near_miss
from adroit.errors import AdroitError, EnvironmentFault, OutOfResource, UnsupportedModel
from tests.conftest import ROOT

STAND_IN = """
import json, os, pathlib, sys
os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"
from tensorrt_rtx import *
from tensorrt_rtx import __version__
import tensorrt_rtx as rtx

def build(self, network, config):
    flags = [name for name, flag in rtx.BuilderFlag.__members__.items() if config.get_flag(flag)]
    record = {
        "flags": flags,
        "typed": network.get_flag(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
        "profiles": config.num_optimization_profiles,
        "workspace": config.get_memory_pool_limit(rtx.MemoryPoolType.WORKSPACE),
        "level": config.builder_optimization_level,
        "timings": len(bytes(config.get_timing_cache().serialize())),
        "monitor": config.progress_monitor is not None,
        "plugins": list(config.plugins_to_serialize),
    }
    pathlib.Path(os.environ["RECORD"]).write_text(json.dumps(record))
    return memoryview(b"a plan")

rtx.Builder.build_serialized_network = build
"""


@pytest.fixture
def stand_in(rtx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module's folder is first on the path of the building process; what it recorded is read from here."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "tensorrt.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.setenv("RECORD", str(tmp_path / "record.json"))
    return tmp_path / "record.json"


def job_of(deployment: Deployment, folder: Path, form: Any = "functions", **settings: Any) -> Job:
    prepared = prepare(deployment, form, Precision.fp32)
    files.write_bytes(folder / MODEL, prepared.content)
    texts = ["one=image:1x1x32x32", "many=image:1x1x32x32,8x1x32x32,16x1x32x32"]
    profiles = profiles_for(deployment.info, [read_profile(text) for text in texts])
    return Job("tensorrt", prepared.custom, None, profiles, **settings)


def test_the_builder_is_given_all_that_was_asked_for(
    lenet_deployment: Deployment, stand_in: Path, tmp_path: Path
) -> None:
    job = job_of(
        lenet_deployment, tmp_path, workspace=64 * 2**20, strip_weights=True, optimization_level=4, timing_cache=True,
        version_compatible=True,
    )  # fmt: skip
    facts = run_in_process(tmp_path, job)
    record = json.loads(stand_in.read_text())
    assert facts["bytes"] == len((tmp_path / PLAN).read_bytes()) == 6
    assert set(record.pop("flags")) >= {"STRIP_PLAN", "VERSION_COMPATIBLE"}
    assert record.pop("timings") == len((tmp_path / CACHE).read_bytes()) > 0
    assert record == {
        "typed": True, "profiles": 2, "workspace": 64 * 2**20, "level": 4, "monitor": True, "plugins": [],
    }  # fmt: skip


def test_nothing_is_asked_for_by_itself(lenet_deployment: Deployment, stand_in: Path, tmp_path: Path) -> None:
    run_in_process(tmp_path, job_of(lenet_deployment, tmp_path))
    record = json.loads(stand_in.read_text())
    assert not {"STRIP_PLAN", "VERSION_COMPATIBLE", "TF32"} & set(record["flags"])
    assert record["level"] == 3
    assert not (tmp_path / CACHE).exists()


class Config:
    """TensorRT's rules for timing caches; tensorrt-rtx, which has no use for them, takes anything."""

    def __init__(self, mismatch: bool) -> None:
        self.mismatch, self.cache = mismatch, b""

    def create_timing_cache(self, content: bytes) -> bytes | None:
        return None if content.startswith(b"noise") else content or b"empty"

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        if self.mismatch and cache != b"empty" and not ignore_mismatch:
            return False
        self.cache = cache
        return True


@pytest.mark.parametrize(
    ("kept", "mismatch", "used", "noticed"),
    [
        (b"timings", False, b"timings", False),
        (b"timings", True, b"empty", True),
        (b"noise", False, b"empty", True),
        (None, False, b"empty", False),
    ],
)
def test_a_timing_cache_that_does_not_fit_is_told_and_replaced(
    kept: bytes | None, mismatch: bool, used: bytes, noticed: bool, tmp_path: Path
) -> None:
    if kept is not None:
        (tmp_path / CACHE).write_bytes(kept)
    config, notices = Config(mismatch), []  # type: tuple[Config, list[Any]]
    job = Job("tensorrt", (), None, (), timing_cache=True)
    assert _timing_cache(config, job, tmp_path, notices.append) == config.cache == used
    assert bool(notices) == noticed
    assert _timing_cache(config, msgspec.structs.replace(job, timing_cache=False), tmp_path, notices.append) is None


def test_nodes_without_plugins_stop_the_build(lenet_deployment: Deployment, stand_in: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"no plugin provides node 'features\.0' \(AdderConv2d\)"):
        run_in_process(tmp_path, job_of(lenet_deployment, tmp_path, "plugins"))
    assert not stand_in.exists()


def test_a_library_that_is_none_is_refused_with_the_registrys_reason(
    lenet_deployment: Deployment, stand_in: Path, tmp_path: Path
) -> None:
    library = tmp_path / "libnone.so"
    library.write_text("not a library")
    with pytest.raises(EnvironmentFault, match=r"libnone\.so does not provide \w+ version 1") as caught:
        run_in_process(
            tmp_path, msgspec.structs.replace(job_of(lenet_deployment, tmp_path, "plugins"), library=str(library))
        )
    assert "libnone.so" in caught.value.facts["reason"]
    assert "it was loaded" not in caught.value.facts["reason"]


@pytest.mark.parametrize(
    ("errors", "kind", "message"),
    [
        (["Error Code 1: Cuda Runtime (out of memory)"], OutOfResource, "out of memory"),
        (["first", "Error Code 2: OutOfMemory (Requested size was 8589934592 bytes.)"], OutOfResource, "8589934592"),
        (["Error Code 10: Could not find any implementation for node {ForeignNode[x]}."], UnsupportedModel, "capture"),
        (["Data-dependent shapes are only allowed in the top-level scope"], UnsupportedModel, "If nodes"),
        (["something new"], UnsupportedModel, "something new"),
        ([], UnsupportedModel, "gives none"),
    ],
)
def test_what_the_builder_logs_becomes_an_error(errors: list[str], kind: type[AdroitError], message: str) -> None:
    error = _build_error(errors)
    assert type(error) is kind
    assert message in str(error)


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        ([("AdderConv2d", "1", "adroit")], ""),
        ([("AdderConv2d", "2", "adroit")], "has version 2, the nodes ask for 1"),
        ([("AdderConv2d", "1", "")], "has it in namespace '', the nodes ask for 'adroit'"),
        ([("AdderConv2d", "2", "")], "has version 2 in namespace ''"),
        ([("Adderconv2d", "1", "adroit"), ("NMS", "1", "")], "has no such operator; near is Adderconv2d"),
        ([("BatchedNMS_TRT", "1", "")], "has no such operator"),
        ([], "has no such operator"),
    ],
)
def test_the_nearest_plugin_is_named_with_what_differs(found: list[tuple[str, str, str]], difference: str) -> None:
    assert near_miss(("AdderConv2d", "1", "adroit"), found) == difference


def test_the_building_process_brings_neither_torch_nor_onnx() -> None:
    """It starts in a fraction of a second, and leaves the memory to the builder."""
    code = "import sys, adroit.deploy.build.worker; print(sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
