"""The machine code of the CUDA kernels. Needs nvcc, and no GPU.

For the oldest and the newest GPU that they are built for, and the one between where an instruction goes away;
with ADROIT_ALL_ARCHITECTURES=1 for every one, which takes minutes more.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.timeout(1800)

SOURCES = ROOT / "plugins/kernels/cuda"
KERNELS = sorted(path.stem for path in SOURCES.glob("*.cu"))
# The instruction that adds four absolute differences is emulated from compute capability 12.0 on.
FUSED_BELOW = 120


def _nvcc() -> str:
    found = shutil.which("nvcc")
    if not found:
        pytest.skip("nvcc is not installed")
    return found


def _architectures(nvcc: str) -> list[int]:
    """Those of plugins/kernels/cuda/cuda.cmake that this nvcc knows."""
    ours = re.search(r"adroit_cuda_architectures ([\d ]+)\)", (SOURCES / "cuda.cmake").read_text())
    assert ours is not None
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    known = sorted(int(a) for a in ours[1].split() if f"compute_{a}\n" in listed)
    if os.environ.get("ADROIT_ALL_ARCHITECTURES") == "1":
        return known
    return sorted({known[0], max(a for a in known if a < FUSED_BELOW), known[-1]})


@dataclass(frozen=True)
class Compiled:
    """A kernel source's machine code for all architectures, and what the assembler said of it."""

    code: Path
    report: str


def _compile(nvcc: str, kernel: str, architectures: list[int], folder: Path) -> Compiled:
    """Into a file named by what it is made of, so that nothing is compiled twice."""
    command = [nvcc, "-std=c++17", "-O3", "-fatbin", "-Xptxas=-v", "--Werror=all-warnings", f"-I{ROOT / 'plugins'}"]
    command += [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    made_of = hashlib.sha256(" ".join(command).encode())
    for path in [*sorted(SOURCES.glob("*.h")), SOURCES.parent / "shapes.h", SOURCES / f"{kernel}.cu"]:
        made_of.update(path.read_bytes())
    code = folder / f"{kernel}-{made_of.hexdigest()[:16]}.fatbin"
    report = code.with_suffix(".txt")
    if not report.exists():
        done = subprocess.run(
            [*command, "-o", str(code), str(SOURCES / f"{kernel}.cu")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        report.write_text(done.stdout + done.stderr)
    return Compiled(code, report.read_text())


@pytest.fixture(scope="session")
def compiled() -> dict[str, Compiled]:
    nvcc = _nvcc()
    folder = ROOT / "build" / "compiled-cuda"
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda kernel: _compile(nvcc, kernel, _architectures(nvcc), folder), KERNELS)
        return dict(zip(KERNELS, found, strict=True))


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_keeps_to_its_registers(kernel: str, compiled: dict[str, Compiled]) -> None:
    entries = re.findall(
        r"Compiling entry function '(\w+)' for 'sm_(\d+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads",
        compiled[kernel].report,
        re.DOTALL,
    )
    assert {int(a) for _, a, *_ in entries} == set(_architectures(_nvcc()))
    spilling = [(name, architecture, numbers) for name, architecture, *numbers in entries if any(map(int, numbers))]
    assert spilling == []


def test_ptx_of_the_quantized_kernel_adds_four_differences_at_once_where_that_is_an_instruction() -> None:
    nvcc = _nvcc()
    counts = {}
    for architecture in (90, FUSED_BELOW):
        source = str(SOURCES / "quantized_adder_conv2d.cu")
        command = [nvcc, "-std=c++17", "-ptx", f"-arch=compute_{architecture}", f"-I{ROOT / 'plugins'}", "-o", "-"]
        ptx = subprocess.run([*command, source], capture_output=True, text=True, check=True).stdout
        counts[architecture] = (len(re.findall(r"vabsdiff4\S*\.add", ptx)), ptx.count("dp4a"))
    assert counts[90][0] > 0 and counts[90][1] == 0
    assert counts[FUSED_BELOW][0] == 0 and counts[FUSED_BELOW][1] > 0


def _disassembler() -> str:
    """cuobjdump: the toolkit's, or the one that Triton's wheel carries."""
    found = shutil.which("cuobjdump")
    triton = importlib.util.find_spec("triton")
    if not found and triton and triton.origin:
        found = shutil.which("cuobjdump", path=str(Path(triton.origin).parent / "backends/nvidia/bin"))
    if not found:
        pytest.skip("cuobjdump is not installed (it comes with the CUDA toolkit, and with Triton)")
    return found


def test_machine_code_of_the_quantized_kernel_adds_four_differences_at_once(compiled: dict[str, Compiled]) -> None:
    tool = _disassembler()
    for architecture in _architectures(_nvcc()):
        command = [tool, "--dump-sass", "-arch", f"sm_{architecture}", str(compiled["quantized_adder_conv2d"].code)]
        code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        functions = code.split("Function : ")[1:]
        assert functions, f"no code for sm_{architecture}"
        for function in functions:
            fused = len(re.findall(r"VABSDIFF4\S*\.ACC", function))
            # Four words of a step for a thread's 16 sums at least.
            assert (fused >= 4 * 16) == (architecture < FUSED_BELOW), (architecture, fused)
            assert ("IDP.4A" in function) == (architecture >= FUSED_BELOW), architecture
