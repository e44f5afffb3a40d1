"""Builds what the checks on a GPU run (tests/gpu/CMakeLists.txt), and says why where it cannot."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


class NotHere(Exception):
    """This machine cannot run a check; the text is the reason."""


def reason_against() -> str | None:
    """Why this machine cannot run the CUDA kernels from PyTorch, or None."""
    if not torch.cuda.is_available():
        return "PyTorch finds no NVIDIA GPU here"
    for tool in ("nvcc", "cmake", "g++"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    return None


@functools.cache
def build_folder() -> Path:
    """The folder with libadroit_gpu_check.so and device_tests, built for this machine's GPU.

    Raises:
        NotHere: there is no GPU or no compiler.
        RuntimeError: the build failed; the text is what the tools said.
    """
    reason = reason_against()
    if reason:
        raise NotHere(reason)
    folder = ROOT / "build" / "gpu-check"
    for command in (
        ["cmake", "-S", str(ROOT / "tests/gpu"), "-B", str(folder)],
        ["cmake", "--build", str(folder), "-j8"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return folder
