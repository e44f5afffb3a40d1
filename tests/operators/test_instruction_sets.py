"""Every instruction set of the kernels gives right results, each forced in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from adroit.deploy.runtimes.native import native_library
from adroit.errors import EnvironmentFault
from tests.conftest import ROOT

PRINT_SET = "from adroit.deploy.runtimes.native import *; print(instruction_set(native_library()))"


def run_with(instruction_set: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ADROIT_INSTRUCTION_SET": instruction_set}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture(autouse=True)
def _library() -> None:
    try:
        native_library()
    except EnvironmentFault as error:
        pytest.skip(error.message)


@pytest.mark.parametrize("instruction_set", ["generic", "avx2", "avx512"])
def test_the_operator_tests_pass_with(instruction_set: str) -> None:
    printed = run_with(instruction_set, "-c", PRINT_SET)
    if "lacks it" in printed.stderr:
        pytest.skip(f"this CPU has no {instruction_set}")
    assert printed.stdout.strip() == instruction_set, printed.stderr
    here = "tests/operators/test_instruction_sets.py"
    done = run_with(instruction_set, "-m", "pytest", "tests/operators", "-k", "native", f"--ignore={here}")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_an_unknown_instruction_set_is_an_error() -> None:
    printed = run_with("sse9", "-c", PRINT_SET)
    assert printed.returncode != 0
    assert "ADROIT_INSTRUCTION_SET=sse9: not one of" in printed.stderr
