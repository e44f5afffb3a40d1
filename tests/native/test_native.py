"""Builds and runs the C++ tests of the kernels, once for every instruction set."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.native.cmake import built_or_skipped


@pytest.fixture(scope="session")
def kernel_tests() -> Path:
    return built_or_skipped("tests/native", "native-tests") / "kernel_tests"


@pytest.fixture(scope="session")
def guarded_tests() -> Path:
    return built_or_skipped("tests/native/guarded", "guarded-tests") / "guarded_tests"


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
    _run(kernel_tests, instruction_set, "60")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("instruction_set", ["generic", "avx2", "avx512"])
def test_shipped_kernels_stay_off_the_pages_around_their_buffers(instruction_set: str, guarded_tests: Path) -> None:
    _run(guarded_tests, instruction_set, "60", "800")
