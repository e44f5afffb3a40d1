"""What a plan says of itself, and which plan may be run here: before any runtime sees it."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adroit.deploy.deployment.builds import GpuRecord
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.builds import find_build
from adroit.deploy.runtimes.tensorrt.compatible import check_gpu, check_plan
from adroit.deploy.runtimes.tensorrt.plan import PlanHeader, read_plan_header
from adroit.errors import AdroitError, EnvironmentFault, UnsupportedModel, UsageError
from adroit.files import sha256
from tests.deploy.records import plan_record, rewritten, rtx_plan_record

# The beginnings of real tensorrt-rtx 1.7.1.116 plans of one network, by what they were compiled for.
REAL = {
    (75,): "767472740000000002000000000000003471 2c0000000000010701747674727401000000 00000000",
    (80,): "76747274000000000200000000000000d46d 2c0000000000010701747674727402000000 00000000",
    (121,): "76747274000000000200000000000000b483 2c0000000000010701747674727420000000 00000000",
}


def rtx_header(size: int, mask: int = 8, version: tuple[int, ...] = (1, 7, 1, 116)) -> bytes:
    return b"vtrt" + struct.pack("<IQQ4B4sI", 0, 2, size, *version, b"vtrt", mask)


def tensorrt_header(version: tuple[int, ...]) -> bytes:
    return b"ftrt" + struct.pack("<IQQ4B8x", 0, 1, 0, *version)


def write(path: Path, header: bytes, size: int = 0) -> Path:
    path.write_bytes(header + b"\0" * (size - len(header)))
    return path


@pytest.mark.parametrize("capabilities", REAL)
def test_the_header_of_a_real_plan_is_read(capabilities: tuple[int, ...], tmp_path: Path) -> None:
    data = bytes.fromhex(REAL[capabilities])
    path = write(tmp_path / "model.plan", data, struct.unpack_from("<Q", data, 16)[0])
    assert read_plan_header(path) == PlanHeader("tensorrt-rtx", (1, 7, 1, 116), capabilities)


def test_tensorrts_version_is_read(tmp_path: Path) -> None:
    header = read_plan_header(write(tmp_path / "p", tensorrt_header((10, 3, 0, 26)), 100))
    assert str(header) == "TensorRT 10.3.0.26"


def test_a_plan_for_several_gpus_names_them(tmp_path: Path) -> None:
    header = read_plan_header(write(tmp_path / "p", rtx_header(200, 0b010101), 200))
    assert header.compute_capabilities == (75, 86, 120)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 8, 16, 24, 27, 28, 31, 35, 36, 64, 100, 150, 199])
def test_a_plan_cut_short_is_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(write(path, rtx_header(200), 200).read_bytes()[:length])
    with pytest.raises(UnsupportedModel, match="cut short" if length >= 36 else "not a TensorRT plan"):
        read_plan_header(path)


@pytest.mark.parametrize("data", [b"\0" * 100, b"ptrt" + b"\0" * 96, b"\x08\x0a\x12" * 40])
def test_what_is_no_plan_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(data)
    with pytest.raises(UnsupportedModel, match="not a TensorRT plan"):
        read_plan_header(tmp_path / "p")


def test_a_header_of_another_layout_is_refused(tmp_path: Path) -> None:
    data = bytearray(tensorrt_header((12, 0, 0, 1)))
    data[4] = 1
    with pytest.raises(UnsupportedModel, match="header of version 1"):
        read_plan_header(write(tmp_path / "p", bytes(data), 100))


def module(version: str) -> Any:
    return SimpleNamespace(__version__=version)


RECORD = plan_record()


@pytest.mark.parametrize(
    ("built", "running", "compatible", "runs"),
    [
        ((10, 3, 0, 26), "10.3.0.26", False, True),
        ((10, 3, 0, 26), "10.3.0", False, True),
        ((10, 3, 0, 26), "10.3.1", False, False),
        ((10, 3, 0, 26), "11.4.0.106", False, False),
        ((10, 3, 0, 26), "11.4.0.106", True, True),
        ((11, 4, 0, 106), "10.16.1.11", True, False),
    ],
)
def test_a_plan_runs_in_its_own_version_or_in_a_later_one_where_it_is_compatible(
    built: tuple[int, ...], running: str, compatible: bool, runs: bool, tmp_path: Path
) -> None:
    path = write(tmp_path / "p", tensorrt_header(built), 100)
    record = plan_record(version_compatible=compatible)
    if runs:
        assert check_plan(path, record, "tensorrt", module(running), "BUILD").version == built
    else:
        with pytest.raises(EnvironmentFault, match=f"built with TensorRT {'.'.join(map(str, built))}, this process"):
            check_plan(path, record, "tensorrt", module(running), "BUILD")


def test_each_runtime_takes_its_own_plans(tmp_path: Path) -> None:
    rtx = write(tmp_path / "rtx", rtx_header(100), 100)
    full = write(tmp_path / "full", tensorrt_header((1, 7, 1, 116)), 100)
    assert check_plan(rtx, RECORD, "tensorrt-rtx", module("1.7.1.116"), "B").kind == "tensorrt-rtx"
    with pytest.raises(EnvironmentFault) as caught:
        check_plan(rtx, RECORD, "tensorrt", module("1.7.1.116"), "B")
    assert caught.value.hint == "open it with --runtime tensorrt-rtx"
    with pytest.raises(EnvironmentFault):
        check_plan(full, RECORD, "tensorrt-rtx", module("1.7.1.116"), "B")
    with pytest.raises(UnsupportedModel, match="lean runtime takes version-compatible plans only"):
        check_plan(full, RECORD, "tensorrt-lean", module("1.7.1.116"), "B")
    with pytest.raises(UnsupportedModel, match="has no weights"):
        check_plan(rtx, plan_record(weights_stripped=True), "tensorrt-rtx", module("1.7.1.116"), "B")


def test_a_plan_of_another_gpu_is_refused(tmp_path: Path) -> None:
    ahead = PlanHeader("tensorrt-rtx", (1, 7, 1, 116), (75, 89))
    here = PlanHeader("tensorrt", (10, 3, 0, 26))
    check_gpu(tmp_path, ahead, RECORD, 89, "B")
    check_gpu(tmp_path, here, plan_record(gpu=GpuRecord("Orin", 87)), 87, "B")
    with pytest.raises(EnvironmentFault, match="compute capability 75, 89, this GPU has 90"):
        check_gpu(tmp_path, ahead, RECORD, 90, "B")
    with pytest.raises(EnvironmentFault, match="compute capability 87, this GPU has 89"):
        check_gpu(tmp_path, here, plan_record(gpu=GpuRecord("Orin", 87)), 89, "B")


# ---- which build of a deployment is opened ----


def with_build(deployment: Deployment, version: str, **changes: object) -> Deployment:
    path = deployment.path / version / "model.plan"
    path.parent.mkdir()
    write(path, rtx_header(100), 100)
    fields = {"file": f"{version}/model.plan", "sha256": sha256(path), "model": deployment.info.model.sha256}
    record = rtx_plan_record(**{**fields, **changes})
    return rewritten(deployment, builds={**deployment.info.builds, version: record})


def test_the_newest_build_is_opened_or_the_one_named(lenet: Deployment) -> None:
    deployment = with_build(with_build(lenet, "2"), "10")
    assert find_build(deployment, "tensorrt-rtx", None)[0] == "10"
    assert find_build(deployment, "tensorrt-rtx", 2)[2] == deployment.path / "2" / "model.plan"
    with pytest.raises(UsageError, match="no build for tensorrt-rtx with version 3"):
        find_build(deployment, "tensorrt-rtx", 3)
    with pytest.raises(UsageError, match=r"has no build for tensorrt\n"):
        find_build(deployment, "tensorrt", None)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"file": "../../other/model.plan"}, UsageError, "the file of build 2"),
        ({"file": "/etc/passwd"}, UsageError, "the file of build 2"),
        ({"sha256": "0" * 64}, UnsupportedModel, "changed after it was built"),
        ({"model": "0" * 64}, UnsupportedModel, "built from another model"),
    ],
)
def test_a_build_that_is_not_what_was_built_is_refused(
    changes: dict[str, object], kind: type[AdroitError], message: str, lenet: Deployment
) -> None:
    with pytest.raises(kind, match=message):
        find_build(with_build(lenet, "2", **changes), "tensorrt-rtx", None)
