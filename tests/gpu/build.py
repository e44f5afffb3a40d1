"""Builds what the checks on a GPU run (tests/gpu/CMakeLists.txt), and says why where it cannot."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

import torch

from tests.native.cmake import ROOT, NotHere, cmake_build, lock


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
    return cmake_build("tests/gpu", "gpu-check")


@functools.cache
def emulated_library() -> Path:
    """The kernels on the emulated device (tests/native/cuda/emulated), behind the same C interface.

    Raises:
        NotHere: cmake or g++ is missing.
        RuntimeError: the build failed.
    """
    folder = cmake_build("tests/native/cuda/emulated", "emulated-cuda-interface", "--target", "emulated_interface")
    return folder / "libemulated_interface.so"


@functools.cache
def onnxruntime_headers() -> Path:
    """The folder of onnxruntime_c_api.h: from the environment, an earlier build, or fetched as the build does.

    Raises:
        NotHere: there is none.
    """
    named = os.environ.get("ONNXRUNTIME_INCLUDE_DIR")
    if named:
        return Path(named)
    for cache in sorted((ROOT / "build").glob("*/CMakeCache.txt")):
        cached = re.search(r"^ONNXRUNTIME_INCLUDE_DIR:\w+=(/.+)$", cache.read_text(encoding="utf-8"), re.MULTILINE)
        if cached and (Path(cached[1]) / "onnxruntime_c_api.h").is_file():
            return Path(cached[1])
    script = ROOT / "plugins/onnxruntime/get_headers.sh"
    folder = ROOT / "build/onnxruntime-headers"
    with lock(folder.name):
        done = subprocess.run([script, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.splitlines() or ["get_headers.sh failed"])[0]
        raise NotHere(f"ONNX Runtime's C headers are not here: {reason}")
    return Path(done.stdout.strip())


@functools.cache
def onnxruntime_library(architectures: str) -> Path:
    """The custom-op library with CUDA kernels for `architectures` ("90", "native"): needs nvcc, and a GPU for "native".

    Raises:
        NotHere: a tool or ONNX Runtime's headers are missing.
        RuntimeError: the build failed.
    """
    if not shutil.which("nvcc"):
        raise NotHere("nvcc is not installed")
    folder = cmake_build(
        ".", f"onnxruntime-cuda-{architectures}", "--target", "adroit_onnxruntime",
        settings=("-DADROIT_CUDA=ON", f"-DADROIT_CUDA_ARCHITECTURES={architectures}", _headers_setting()),
    )  # fmt: skip
    return folder / "libadroit_onnxruntime.so"


@functools.cache
def emulated_onnxruntime_library() -> Path:
    """ONNX Runtime's CUDA adapters over the emulated device, for the CPU provider.

    Raises:
        NotHere: a tool or ONNX Runtime's headers are missing.
        RuntimeError: the build failed.
    """
    folder = emulated_library().parent
    target = ("--target", "emulated_onnxruntime")
    cmake_build("tests/native/cuda/emulated", folder.name, *target, settings=(_headers_setting(),))
    return folder / "libemulated_onnxruntime.so"


def _headers_setting() -> str:
    return f"-DONNXRUNTIME_INCLUDE_DIR={onnxruntime_headers()}"
