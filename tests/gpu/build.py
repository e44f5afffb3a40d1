"""Builds what the checks on a GPU run (tests/gpu/CMakeLists.txt), and says why where it cannot."""

from __future__ import annotations

import functools
import os
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
    return _build("tests/gpu", "gpu-check")


@functools.cache
def emulated_library() -> Path:
    """The kernels on the emulated device (tests/native/cuda/emulated), behind the same C interface.

    Raises:
        NotHere: cmake or g++ is missing.
        RuntimeError: the build failed.
    """
    for tool in ("cmake", "g++"):
        if not shutil.which(tool):
            raise NotHere(f"{tool} is not installed")
    folder = _build("tests/native/cuda/emulated", "emulated-cuda-interface", "--target", "emulated_interface")
    return folder / "libemulated_interface.so"


def _build(source: str, name: str, *target: str) -> Path:
    folder = ROOT / "build" / name
    for command in (
        ["cmake", "-S", str(ROOT / source), "-B", str(folder)],
        ["cmake", "--build", str(folder), f"-j{min(8, os.cpu_count() or 1)}", *target],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return folder
