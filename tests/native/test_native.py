"""Builds and runs the C++ tests of the kernels, once for every instruction set."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def _build(source: str, folder: str) -> Path:
    for tool in ("cmake", "g++"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    build = ROOT / "build" / folder
    subprocess.run(["cmake", "-S", str(ROOT / source), "-B", str(build)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(build), "-j2"], check=True, stdout=subprocess.DEVNULL)
    return build


@pytest.fixture(scope="session")
def kernel_tests() -> Path:
    return _build("tests/native", "native-tests") / "kernel_tests"


@pytest.fixture(scope="session")
def guarded_tests() -> Path:
    return _build("tests/native/guarded", "guarded-tests") / "guarded_tests"


def _run(program: Path, instruction_set: str, *arguments: str) -> None:
    environment = {**os.environ, "ADROIT_INSTRUCTION_SET": instruction_set}
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
    if "lacks it" in done.stderr:
        pytest.skip(f"this CPU has no {instruction_set}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(instruction_set)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("instruction_set", ["generic", "avx2", "avx512"])
def test_kernels_are_right_and_stay_inside_their_buffers(instruction_set: str, kernel_tests: Path) -> None:
    _run(kernel_tests, instruction_set)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("instruction_set", ["generic", "avx2", "avx512"])
def test_shipped_kernels_stay_off_the_pages_around_their_buffers(instruction_set: str, guarded_tests: Path) -> None:
    _run(guarded_tests, instruction_set, "150", "2000")
