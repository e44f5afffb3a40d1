"""The ONNX Runtime library that holds CUDA kernels too, on a machine without a GPU. Needs nvcc."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from adroit.deploy.operators.definitions import operators, session_operators
from adroit.deploy.runtimes.native import native_library
from adroit.errors import EnvironmentFault
from tests.conftest import ROOT
from tests.gpu import build
from tests.gpu.onnx_nodes import NODES, WITHOUT_CUDA, Node
from tests.gpu.test_onnxruntime_cuda import CPU, CUDA, run, session

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def with_cuda() -> Path:
    """Built for one architecture: how it loads depends on none."""
    try:
        return build.onnxruntime_library("90")
    except build.NotHere as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def cpu_only() -> Path:
    try:
        return native_library()
    except EnvironmentFault as error:
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def registrations(with_cuda: Path) -> list[str]:
    """Returns what the library registers, as tests/native/onnxruntime/registrations.cpp prints it."""
    program = with_cuda.parent / "registrations"
    source = ROOT / "tests/native/onnxruntime/registrations.cpp"
    command = ["g++", "-std=c++17", "-Wall", "-Werror", "-isystem", str(build.onnxruntime_headers()), str(source)]
    subprocess.run([*command, "-o", str(program), "-ldl"], check=True)
    done = subprocess.run([str(program), str(with_cuda)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("which", ["with_cuda", "cpu_only"])
def test_it_needs_no_library_of_cuda_and_exports_two_functions(which: str, request: pytest.FixtureRequest) -> None:
    library: Path = request.getfixturevalue(which)
    with library.open("rb") as file:
        elf = ELFFile(file)
        dynamic, symbols = elf.get_section_by_name(".dynamic"), elf.get_section_by_name(".dynsym")
        assert isinstance(dynamic, DynamicSection) and isinstance(symbols, SymbolTableSection)
        needed = {tag.needed for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED"}
        exported = {s.name for s in symbols.iter_symbols() if s["st_shndx"] != "SHN_UNDEF" and s.name}
    assert not [name for name in needed if name.startswith(("libcu", "libnv"))], needed
    assert exported == {"RegisterCustomOps", "adroit_instruction_set"}


def test_each_operator_is_registered_for_both_providers_with_the_same_types(registrations: list[str]) -> None:
    found = {provider: [r.replace(provider, "") for r in registrations if provider in r] for provider in (CPU, CUDA)}
    assert len(found[CPU]) + len(found[CUDA]) == len(registrations), registrations
    assert {r.split()[0] for r in found[CPU]} == {*operators(), *session_operators()}
    on_cpu = {WITHOUT_CUDA.operator, *session_operators()}
    assert sorted(found[CUDA]) == sorted(r for r in found[CPU] if r.split()[0] not in on_cpu)


@pytest.mark.parametrize("node", [*NODES, WITHOUT_CUDA], ids=lambda node: node.name)
def test_on_the_cpu_it_gives_what_the_library_without_cuda_gives(node: Node, with_cuda: Path, cpu_only: Path) -> None:
    found, expected = (run(session(node, library, [CPU]), node) for library in (with_cuda, cpu_only))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
