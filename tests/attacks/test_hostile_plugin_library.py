"""Plugin libraries that are none, of another machine, or not what a model asks for: one clear error each."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.plugin_check.library_file import LibraryFile, read_library
from adroit.errors import UsageError
from tests.conftest import Adroit

OURS = "adroit TensorRT plugins\\ntensorrt 10.3.0\\ncuda 12060\\n"


def compiled(folder: Path, operators: str, symbols: tuple[str, ...] = ("getCreators", "setLoggerFinder")) -> Path:
    """A library with these symbols and adroit's note of these operators ("NAME VERSION NAMESPACE\\n" each)."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    note = f'__attribute__((section(".adroit"), used)) const char note[] = "{OURS}{operators}";\n'
    source, library = folder / "library.c", folder / "plugins.so"
    source.write_text((note if operators else "") + "".join(f"void {symbol}(void) {{}}\n" for symbol in symbols))
    subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", "-o", library, source], check=True)
    source.unlink()
    return library


Made = Callable[[Path], Path]


@dataclass(frozen=True)
class Attack:
    make: Made
    code: int

    @property
    def name(self) -> str:
        return self.make.__name__.replace("_", " ")


def missing_library(folder: Path) -> Path:
    """A path with a typing error."""
    return folder / "nowhere.so"


def folder_as_library(folder: Path) -> Path:
    """The folder that the library is in."""
    return folder


def text_file(folder: Path) -> Path:
    """What a failed download leaves: a page of text under the library's name."""
    path = folder / "page.so"
    path.write_text("<html>404</html>")
    return path


def cut_short(folder: Path) -> Path:
    """A copy that broke off: the tables at the end of the file are gone."""
    path = compiled(folder, "AdderConv2d 1 adroit\\n")
    path.write_bytes(path.read_bytes()[:600])
    return path


def header_only(folder: Path) -> Path:
    """The first bytes are right, and there is nothing after them."""
    path = folder / "header.so"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + b"\0" * 5)
    return path


def object_file(folder: Path) -> Path:
    """Compiled but never linked."""
    path = compiled(folder, "AdderConv2d 1 adroit\\n")
    content = bytearray(path.read_bytes())
    content[16] = 1  # ET_REL
    path.write_bytes(content)
    return path


def another_processor(folder: Path) -> Path:
    """Built on a Jetson, copied to a server (or the other way round). The system says 'cannot open'."""
    path = compiled(folder, "AdderConv2d 1 adroit\\n")
    content = bytearray(path.read_bytes())
    content[18:20] = (62 if platform.machine() == "aarch64" else 183).to_bytes(2, "little")
    path.write_bytes(content)
    return path


def lacks_the_logger_symbol(folder: Path) -> Path:
    """TensorRT's registry asks for both symbols, and fails without a word where one is missing."""
    return compiled(folder, "AdderConv2d 1 adroit\\n", ("getCreators", "initLibNvInferPlugins"))


def no_plugin_library(folder: Path) -> Path:
    """Some other library."""
    return compiled(folder, "", ("RegisterCustomOps",))


def note_that_is_damaged(folder: Path) -> Path:
    """The section has our name and another content."""
    path = compiled(folder, "AdderConv2d 1 adroit\\n")
    path.write_bytes(path.read_bytes().replace(b"tensorrt 10.3.0\ncuda 12060", b"tensorrt 10.3.0\nCUDA 12060"))
    return path


def wrong_version(folder: Path) -> Path:
    """The library of a later adroit: TensorRT would build the portable bodies without a word."""
    return compiled(folder, "AdderConv2d 2 adroit\\nRoutingGate 1 adroit\\n")


def wrong_namespace(folder: Path) -> Path:
    """What REGISTER_TENSORRT_PLUGIN does: every operator ends up in the empty namespace."""
    return compiled(folder, "AdderConv2d 1 \\n")


def wrong_version_and_namespace(folder: Path) -> Path:
    """Both at once."""
    return compiled(folder, "AdderConv2d 3 other\\n")


def name_of_another_case(folder: Path) -> Path:
    """A name that only looks the same."""
    return compiled(folder, "AdderConv2D 1 adroit\\nAdderConv2dAdd 1 adroit\\n")


def name_misspelt(folder: Path) -> Path:
    """A name that is nearly the same."""
    return compiled(folder, "AddConv2d 1 adroit\\n")


def other_operators(folder: Path) -> Path:
    """A library for other networks."""
    return compiled(folder, "RoutingGate 1 adroit\\n")


def without_a_note(folder: Path) -> Path:
    """A library that is not ours, on a machine without TensorRT: nobody can tell its operators."""
    return compiled(folder, "")


ATTACKS = [
    Attack(missing_library, 2),
    Attack(folder_as_library, 2),
    Attack(text_file, 2),
    Attack(cut_short, 2),
    Attack(header_only, 2),
    Attack(object_file, 2),
    Attack(another_processor, 5),
    Attack(lacks_the_logger_symbol, 2),
    Attack(no_plugin_library, 2),
    Attack(note_that_is_damaged, 2),
    Attack(wrong_version, 6),
    Attack(wrong_namespace, 6),
    Attack(wrong_version_and_namespace, 6),
    Attack(name_of_another_case, 6),
    Attack(name_misspelt, 6),
    Attack(other_operators, 6),
    Attack(without_a_note, 6),
]


def shown(text: str, folder: Path, deployment: Deployment) -> str:
    text = text.replace(str(folder), "FOLDER").replace(str(deployment.path), "DEPLOYMENT")
    return text.replace(platform.machine(), "THIS MACHINE").replace("aarch64", "ANOTHER").replace("x86_64", "ANOTHER")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_attack(
    attack: Attack, tmp_path: Path, lenet_deployment: Deployment, adroit: Adroit, snapshot: SnapshotAssertion
) -> None:
    library = attack.make(tmp_path)
    result = adroit("plugins", "check", library, "--model", lenet_deployment.path, "--no-load")
    assert result.code == attack.code, result.err
    assert result.err.startswith("error: ") and "Traceback" not in result.err
    message = shown(result.err, tmp_path, lenet_deployment)
    if attack.make in (cut_short, header_only, note_that_is_damaged):  # the reader's words change with its version
        message = message.split("  reason")[0]
    assert message == snapshot


def test_a_library_that_serves_the_model(
    tmp_path: Path, lenet_deployment: Deployment, adroit: Adroit, snapshot: SnapshotAssertion
) -> None:
    library = compiled(tmp_path, "AdderConv2d 1 adroit\\nRoutingGate 1 adroit\\n")
    result = adroit("plugins", "check", library, "--model", lenet_deployment.path, "--no-load")
    assert result.code == 0, result.err
    assert shown(result.out, tmp_path, lenet_deployment) == snapshot


def test_damaged_files_are_errors_and_never_crash_the_reader(tmp_path: Path) -> None:
    content = compiled(tmp_path, "AdderConv2d 1 adroit\\n").read_bytes()
    random = np.random.default_rng(0)
    damaged, read = tmp_path / "damaged.so", 0
    for _ in range(300):
        bytes_ = np.frombuffer(content, np.uint8).copy()
        # Most of the file is padding; its tables are where damage matters.
        places = np.flatnonzero(bytes_) if random.random() < 0.8 else np.arange(64)
        bytes_[random.choice(places, random.integers(1, 6))] = random.integers(0, 256)
        damaged.write_bytes(bytes_.tobytes()[: random.integers(1, len(content)) if random.random() < 0.3 else None])
        try:
            read += isinstance(read_library(damaged), LibraryFile)
        except UsageError:
            continue
    assert 0 < read < 300


# What stands for TensorRT's Python package in the tests below: a registry that obeys the test.
BINDINGS = """
import os, signal
__version__ = "10.3.0"
class IErrorRecorder:
    def __init__(self): pass
class Creator:
    name, plugin_version, plugin_namespace, field_names = "AdderConv2d", "1", "adroit", []
class Registry:
    error_recorder, all_creators = None, []
    def load_library(self, path):
        {load}
def get_plugin_registry():
    return Registry()
"""
LOADING = {
    "it crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", 2, "ends the process that loads it"),
    "it exits": ("os._exit(3)", 2, "exit code 3"),
    "it is refused": ("self.error_recorder.report_error(3, 'wrong weather')", 2, "wrong weather"),
    "it is refused in silence": ("return None", 2, "it gives no reason"),
    "it is empty": ("return 1", 2, "it registers no operator"),
    "it drops attributes": (
        "Registry.all_creators = [Creator]; return 1",
        6,
        "would never see the attribute activation",
    ),
}


@pytest.mark.parametrize("what", LOADING)
def test_loading_happens_elsewhere_and_may_fail(
    what: str, tmp_path: Path, lenet_deployment: Deployment, adroit: Adroit
) -> None:
    load, code, words = LOADING[what]
    (tmp_path / "tensorrt.py").write_text(BINDINGS.format(load=load))
    library = compiled(tmp_path, "AdderConv2d 1 adroit\\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    command = ["plugins", "check", library, "--model", lenet_deployment.path]
    result = adroit(*command, environment={"PYTHONPATH": path})
    assert result.code == code, result.err
    assert words in result.err and "Traceback" not in result.err


def test_an_installed_tensorrt_that_is_broken_is_told(tmp_path: Path, adroit: Adroit) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    library = compiled(tmp_path, "AdderConv2d 1 adroit\\n")
    result = adroit("plugins", "check", library, environment={"PYTHONPATH": str(tmp_path)})
    assert result.code == 0
    assert "the library's own note (tensorrt is installed but not usable)" in result.out
