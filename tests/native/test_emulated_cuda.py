"""The CUDA kernels' own source on an emulated device, under the sanitizers: needs neither nvcc nor a GPU."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.native.cmake import built_or_skipped

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def build() -> Path:
    return built_or_skipped("tests/native/cuda/emulated", "emulated-cuda-tests")


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def test_kernels_are_right_and_stay_inside_their_buffers(build: Path) -> None:
    done = _run(build / "emulated_tests", 25)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "routing_decision float32: 25 shapes" in done.stdout
    assert "routing_gate float16: 25 shapes" in done.stdout


def test_kernels_have_no_races(build: Path) -> None:
    done = _run(build / "emulated_races", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "routing_decision float32: 1 shapes" in done.stdout
    assert "routing_gate float16: 1 shapes" in done.stdout


def test_a_missing_barrier_would_be_found(build: Path) -> None:
    done = _run(build / "emulated_races", "race")
    assert done.returncode != 0
    assert "data race" in done.stderr


def test_an_access_outside_a_buffer_would_be_found(build: Path) -> None:
    done = _run(build / "emulated_tests", "overrun")
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
