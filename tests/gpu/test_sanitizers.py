"""NVIDIA's compute-sanitizer over random shapes through every CUDA kernel; skipped where it cannot run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.gpu import build

reason = build.reason_against()
pytestmark = [
    pytest.mark.skipif(reason is not None, reason=f"needs a GPU and nvcc: {reason}"),
    pytest.mark.timeout(1800),
]


def _sanitizer() -> str:
    found = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if not found:
        pytest.skip("compute-sanitizer is not installed (it comes with the CUDA toolkit)")
    return found


def test_random_shapes_are_right() -> None:
    done = subprocess.run(
        [str(build.build_folder() / "device_tests"), "300"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck", "synccheck"])
def test_sanitizer_finds_nothing(tool: str, tmp_path: Path) -> None:
    command = [_sanitizer(), "--tool", tool, "--error-exitcode", "9", str(build.build_folder() / "device_tests"), "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    if "Device not supported" in done.stdout + done.stderr:
        pytest.skip("compute-sanitizer does not support this machine's device")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "ERROR SUMMARY: 0 errors" in done.stdout or "0 hazards" in done.stdout, done.stdout[-2000:]
