"""The architectures in a library's GPU code, from bytes made here and from what nvcc writes."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from adroit.deploy.plugin_check.fatbin import architectures
from adroit.deploy.plugin_check.library_file import read_library


def entry(kind: int, architecture: int, size: int = 24) -> bytes:
    return struct.pack("<HHIQ12xI", kind, 0x101, 64, size, architecture).ljust(64, b"\0") + b"\x5a" * size


def container(*entries: bytes) -> bytes:
    content = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(content)) + content


def test_containers_and_entries() -> None:
    section = container(entry(2, 75), entry(2, 90)) + b"\0" * 8 + container(entry(2, 75), entry(1, 120))
    assert architectures(section) == ["sm_75", "sm_90", "compute_120"]
    assert architectures(b"") == []


@pytest.mark.parametrize(
    "section",
    [
        b"\x01" * 64,
        container(entry(2, 75))[:-1],  # cut short
        container(entry(2, 75)) + b"left over",
        container(entry(9, 75)),  # a kind that we do not know
        container(entry(2, 0)),
        container(struct.pack("<HHIQ12xI", 2, 0x101, 0, 0, 75)),  # no header: reading it would never end
        struct.pack("<IHHQ", 0xBA55ED50, 2, 16, 0),  # a later version
    ],
)
def test_what_is_not_understood_is_unknown(section: bytes) -> None:
    assert architectures(section) is None


def test_what_nvcc_writes(tmp_path: Path) -> None:
    if not shutil.which("nvcc"):
        pytest.skip("nvcc is not installed")
    source, library = tmp_path / "kernel.cu", tmp_path / "kernel.so"
    source.write_text("__global__ void k(float* a) { *a += 1; }\nvoid f(float* a) { k<<<1, 1>>>(a); }\n")
    codes = ["arch=compute_80,code=sm_80", "arch=compute_90,code=[sm_90,compute_90]"]
    flags = [word for code in codes for word in ("-gencode", code)]
    command = ["nvcc", "-shared", "-Xcompiler", "-fPIC", *flags, "-o", library, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # nvcc's own runtime library brings code of further architectures.
    result = read_library(library).gpu_code
    assert result is not None and {"sm_80", "sm_90", "compute_90"} <= set(result)
