"""A shared library as a file: read, never loaded."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adroit.deploy.plugin_check.fatbin import architectures
from adroit.deploy.runtimes.tensorrt.near_miss import Triple
from adroit.errors import EnvironmentFault, UsageError

# Symbols that TensorRT's registry needs of a library; it refuses one without both.
REQUIRED = ("getCreators", "setLoggerFinder")
# ELF's names and the system's.
_MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_ARM": "arm", "EM_386": "i386", "EM_PPC64": "ppc64"}


@dataclass(frozen=True)
class PluginOperator:
    """An operator that a library has: TensorRT finds it by these three. `fields` are its attributes, where known."""

    name: str
    version: str
    namespace: str
    fields: tuple[str, ...] | None = None

    @property
    def triple(self) -> Triple:
        """Name, version and namespace."""
        return self.name, self.version, self.namespace


@dataclass(frozen=True)
class LibraryFile:
    """The contents of a library file.

    Attributes:
        machine: processor, in the words of `uname -m`.
        exported: the functions that it offers.
        needed: the libraries that it is loaded with.
        gpu_code: as `fatbin.architectures`; None where there is a section that is not understood.
        built_for: of a library of ours: versions of TensorRT and CUDA ("10.16.0", "13.0"); else None.
        noted: of a library of ours: its operators, as it was built; else None.
    """

    path: Path
    machine: str
    exported: tuple[str, ...]
    needed: tuple[str, ...]
    gpu_code: list[str] | None
    built_for: dict[str, str] | None
    noted: tuple[PluginOperator, ...] | None


def read_library(path: Path) -> LibraryFile:
    """Reads an ELF shared library.

    Raises:
        UsageError: there is no such file, or it is not a shared library, or damaged.
    """
    from elftools.elf.elffile import ELFFile

    if not path.is_file():
        raise UsageError(f"{path} is a folder" if path.is_dir() else f"there is no library {path}")
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"\x7fELF":
                raise UsageError(
                    f"{path} is not a shared library: it does not begin as an ELF file does",
                    hint="TensorRT plugin libraries are Linux .so files here; a .plan or .onnx is not one",
                )
            return _read(path, ELFFile(stream))
    except OSError as error:
        raise UsageError(f"cannot read {path}", facts={"reason": error.strerror}) from error
    except UsageError:
        raise
    except Exception as error:  # a damaged file makes the reader raise anything
        raise UsageError(
            f"{path} is a damaged ELF file", facts={"reason": str(error) or type(error).__name__}
        ) from error


def _read(path: Path, elf: Any) -> LibraryFile:
    dynamic = next((s for s in elf.iter_segments() if s["p_type"] == "PT_DYNAMIC"), None)
    if elf["e_type"] != "ET_DYN" or dynamic is None:
        raise UsageError(f"{path} is an ELF file but not a shared library")
    exported = sorted(
        symbol.name
        for symbol in dynamic.iter_symbols()
        if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["type"] == "STT_FUNC"
    )
    needed = tuple(tag.needed for tag in dynamic.iter_tags("DT_NEEDED"))
    code, note = elf.get_section_by_name(".nv_fatbin"), elf.get_section_by_name(".adroit")
    built_for, noted = _note(note.data().decode("ascii")) if note else (None, None)
    machine = _MACHINES.get(elf["e_machine"], str(elf["e_machine"]))
    return LibraryFile(
        path, machine, tuple(exported), needed, architectures(code.data()) if code else [], built_for, noted
    )


def _note(text: str) -> tuple[dict[str, str], tuple[PluginOperator, ...]]:
    """The section .adroit, which plugins/tensorrt/library.cpp writes."""
    title, tensorrt, cuda, *operators = text.rstrip("\0\n").split("\n")
    if title != "adroit TensorRT plugins":
        raise ValueError("the section .adroit is not as adroit writes it")
    number = int(cuda.removeprefix("cuda "))
    built_for = {
        "tensorrt": tensorrt.removeprefix("tensorrt "),
        "cuda": f"{number // 1000}.{number % 1000 // 10}",
    }
    return built_for, tuple(_noted_operator(*line.split(" ")) for line in operators)


def _noted_operator(name: str, version: str, namespace: str) -> PluginOperator:
    return PluginOperator(name, version, namespace)


def require_loadable(library: LibraryFile) -> None:
    """Refuses a library that TensorRT cannot load here, before any of its code runs.

    Raises:
        EnvironmentFault: it is of another processor.
        UsageError: it lacks a symbol that TensorRT asks for.
    """
    if library.machine != platform.machine():
        raise EnvironmentFault(
            f"{library.path} is built for another processor",
            facts={"library": library.machine, "this machine": platform.machine()},
            hint="build it on the machine that it is to run on",
        )
    lacking = [name for name in REQUIRED if name not in library.exported]
    if lacking:
        raise UsageError(
            f"{library.path} is not a plugin library: TensorRT refuses one without {' and '.join(REQUIRED)}",
            facts={"lacks": ", ".join(lacking), "exports": ", ".join(library.exported[:8]) or "nothing"},
            hint="a library that registers its plugins by REGISTER_TENSORRT_PLUGIN is loaded by other means"
            if "libnvinfer" in " ".join(library.needed)
            else None,
        )
