"""The checks on a GPU say what ran; the benchmark's arithmetic."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmarks import cuda_kernels
from benchmarks.gpu_timing import copies_for
from tests.conftest import ROOT
from tests.gpu import check


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (0, "12 passed in 3s\n", "PASS"),
        (1, "1 failed\n", "FAIL (exit code 1)"),
        (0, "SKIPPED [3] tests/gpu/test_kernels.py:54: no GPU\n3 skipped in 1s\n", "SKIP: no GPU"),
        (0, "SKIPPED [1] x.py:5: no tool\n1 passed, 1 skipped in 1s\n", "PASS, but skipped: no tool"),
        (0, "SKIP: nothing is measured: no GPU\n", "SKIP: nothing is measured: no GPU"),
    ],
)
def test_verdict(code: int, output: str, expected: str) -> None:
    assert check.verdict(code, output) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU: make gpu-check runs it all")
def test_without_a_gpu_every_step_that_needs_one_is_skipped_with_the_reason() -> None:
    needing = [step.name for step in check.STEPS if step.name not in ("references", "TensorRT plugins")]
    assert len(needing) == len(check.STEPS) - 2
    for step in needing:
        command = [sys.executable, "-m", "tests.gpu.check", "--only", step]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert f"{step:<17} SKIP: PyTorch finds no NVIDIA GPU here" in done.stdout


def test_floor_is_the_longer_of_arithmetic_and_memory() -> None:
    peaks = cuda_kernels.Peaks(float_taps=1e12, byte_taps=4e12, bytes=2e12)
    assert peaks.floor(moved=2e6, taps=5e6) == (5.0, "taps")
    assert peaks.floor(moved=2e6, taps=2e6, in_bytes=True) == (1.0, "memory")


def test_table_shows_what_was_measured() -> None:
    row = cuda_kernels._row("adaptive_filter", "a case", torch.float16, 20.0, (10.0, "memory"))
    text = cuda_kernels.table([{**row, "torch": 7.25}])
    assert "float16       20.0     10.0   50%  torch 7.2; memory; a case" in text


def test_data_is_rotated_beyond_the_caches() -> None:
    assert copies_for(2**30) == 1
    assert copies_for(100 * 2**20) == 6
    assert copies_for(1) == 20
