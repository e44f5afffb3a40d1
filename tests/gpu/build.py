"""Builds what the checks on a GPU run (tests/gpu/CMakeLists.txt), and says why where it cannot."""

from __future__ import annotations

import functools
import os
import re
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


@functools.cache
def onnxruntime_headers() -> Path:
    """The folder of onnxruntime_c_api.h: told, found by an earlier build, or fetched as the build does.

    Raises:
        NotHere: there is none.
    """
    told = os.environ.get("ONNXRUNTIME_INCLUDE_DIR")
    if told:
        return Path(told)
    for cache in sorted((ROOT / "build").glob("*/CMakeCache.txt")):
        found = re.search(r"^ONNXRUNTIME_INCLUDE_DIR:\w+=(/.+)$", cache.read_text(encoding="utf-8"), re.MULTILINE)
        if found and (Path(found[1]) / "onnxruntime_c_api.h").is_file():
            return Path(found[1])
    script = ROOT / "plugins/onnxruntime/get_headers.sh"
    done = subprocess.run([script, ROOT / "build/onnxruntime-headers"], capture_output=True, text=True, check=False)
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
    for tool in ("nvcc", "cmake", "g++"):
        if not shutil.which(tool):
            raise NotHere(f"{tool} is not installed")
    folder = _build(
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
    _build("tests/native/cuda/emulated", folder.name, *target, settings=(_headers_setting(),))
    return folder / "libemulated_onnxruntime.so"


def _headers_setting() -> str:
    return f"-DONNXRUNTIME_INCLUDE_DIR={onnxruntime_headers()}"


def _build(source: str, name: str, *target: str, settings: tuple[str, ...] = ()) -> Path:
    folder = ROOT / "build" / name
    for command in (
        ["cmake", "-S", str(ROOT / source), "-B", str(folder), *settings],
        ["cmake", "--build", str(folder), f"-j{min(8, os.cpu_count() or 1)}", *target],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return folder
