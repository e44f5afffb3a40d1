"""Builds and runs the C++ tests of the kernels, once for every instruction set."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="session")
def kernel_tests() -> Path:
    for tool in ("cmake", "g++"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    build = ROOT / "build" / "native-tests"
    subprocess.run(["cmake", "-S", str(ROOT / "tests/native"), "-B", str(build)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(build), "-j2"], check=True, stdout=subprocess.DEVNULL)
    return build / "kernel_tests"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("instruction_set", ["generic", "avx2", "avx512"])
def test_kernels_are_right_and_stay_inside_their_buffers(instruction_set: str, kernel_tests: Path) -> None:
    environment = {**os.environ, "ADROIT_INSTRUCTION_SET": instruction_set}
    done = subprocess.run([kernel_tests], env=environment, capture_output=True, text=True, check=False)
    if "lacks it" in done.stderr:
        pytest.skip(f"this CPU has no {instruction_set}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(instruction_set)
