"""A new operator, by the command alone: written, filled in, built and run in a copy of the repository.

So the command's list of files is complete: nothing else is edited, and every test that holds operators to their
descriptions passes with it.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adroit.deploy.operators.new_operator import DESCRIPTIONS, file_name, write_operator
from adroit.errors import UsageError
from tests.conftest import ROOT
from tests.gpu.build import onnxruntime_headers
from tests.native.cmake import NotHere

pytestmark = pytest.mark.timeout(1800)  # it builds

NAME, FILE = "SoftSign", "soft_sign"  # Y = X / (1 + |X|)
MOST_EDITED = 8  # existing files that a new operator may touch

# What the author fills in, by file: pattern and replacement. The rest of the skeleton is right for this operator.
FILLED = {
    f"plugins/portable/{NAME}.onnx.txt": [
        (r"    # FILL IN.*\n.*\n", "    a = Abs (X)\n    one = Constant <value_float = 1.0> ()\n"
         "    below = Add (one, a)\n    Y = Div (X, below)\n"),
    ],
    f"plugins/kernels/cpu/{FILE}.cpp": [
        (r"y\[i\] = x\[i\];.*", "y[i] = x[i] / (1.0f + (x[i] < 0.0f ? -x[i] : x[i]));"),
    ],
    f"plugins/kernels/cuda/{FILE}.cu": [(r"<T>\(x\);.*", "<T>(x / (1.0f + (x < 0.0f ? -x : x)));")],
    f"tests/native/cpu/{FILE}_tests.cpp": [(r"= value;.*", "= value / (1.0 + std::fabs(value));")],
    f"tests/native/cuda/{FILE}_tests.cpp": [(r"= value;.*", "= value / (1.0 + std::fabs(value));")],
    f"models/operators/{FILE}.py": [(r"return x.clone\(\).*", "return x / (1 + x.abs())")],
    f"deploy/operators/{FILE}.py": [
        (r"elementwise=prod\(outputs\[0\]\)\).*", "elementwise=3 * prod(outputs[0]))"),
        (r"return result.abs\(\), 1.*", "return result.abs(), 2"),
    ],
    f"tests/operators/cases/{FILE}.py": [
        (r"y = inputs.*", 'y = np.array([v / (1 + abs(v)) for v in inputs["X"].ravel().tolist()]).reshape(case.x)'),
        (r"np.abs\(y\), 1", "np.abs(y), 2"),
    ],
}  # fmt: skip

# Imports the copy, not what is installed here in editable form.
IN_COPY = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
import adroit.deploy.operators.definitions as definitions
assert str(definitions.plugin_files()).startswith({copy!r}), definitions.plugin_files()
"""


def copy_of_the_repository(folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def fill_in(repository: Path) -> None:
    for name, changes in FILLED.items():
        text = (repository / name).read_text()
        for pattern, replacement in changes:
            text, count = re.subn(pattern, lambda _, r=replacement: r, text)
            assert count == 1, (name, pattern)
        (repository / name).write_text(text)


def edited(repository: Path) -> list[str]:
    """The files of this repository that differ in the copy."""
    compared = (path for path in repository.rglob("*") if path.is_file() and not path.is_symlink())
    names = (path.relative_to(repository) for path in compared)
    return [str(n) for n in names if (ROOT / n).is_file() and not filecmp.cmp(ROOT / n, repository / n, shallow=False)]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy with the new operator, not yet built."""
    folder = tmp_path_factory.mktemp("copy")
    copy_of_the_repository(folder)
    done = subprocess.run(
        [sys.executable, "-m", "adroit.deploy.operators", "new", NAME, folder],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in FILLED:
        assert re.search(rf"  {re.escape(name)} +fill in line \d", done.stdout), done.stdout
    fill_in(folder)
    return folder


@pytest.fixture(scope="module")
def built(copy: Path) -> Path:
    """The copy with its ONNX Runtime library, laid out as an installed package."""
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    try:
        headers = onnxruntime_headers()
    except NotHere as why:
        pytest.skip(str(why))
    settings = {"CMAKE_BUILD_TYPE": "Debug", "ADROIT_GENERIC_ONLY": "ON", "ADROIT_CUDA": "OFF"}
    settings["ONNXRUNTIME_INCLUDE_DIR"] = str(headers)
    build = copy / "build"
    for command in (
        ["cmake", "-S", copy, "-B", build, *(f"-D{key}={value}" for key, value in settings.items())],
        ["cmake", "--build", build, "-j2", "--target", "adroit_onnxruntime"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    native = copy / "src/adroit/native"
    native.mkdir()
    for path in (build / "libadroit_onnxruntime.so", copy / "plugins/operators.toml"):
        shutil.copy(path, native)
    shutil.copytree(copy / "plugins/portable", native / "portable")
    return copy


def run_in(copy: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy}"}
    command = [sys.executable, "-c", IN_COPY.format(copy=str(copy)) + code]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


def test_no_file_is_edited_but_the_description(copy: Path) -> None:
    changed = edited(copy)
    assert changed == [str(DESCRIPTIONS)] and len(changed) <= MOST_EDITED


def test_it_runs_in_onnxruntime_as_in_pytorch(built: Path) -> None:
    """Its own tests, and those that hold every operator to its description, rules and limits."""
    chosen = f"{FILE} or {NAME}"
    tests = ["tests/operators/test_descriptors.py", "tests/operators/test_rules.py", f"tests/operators/test_{FILE}.py"]
    done = run_in(
        built, f"import pytest\nsys.exit(pytest.main(['-p', 'no:cacheprovider', '-k', {chosen!r}, *{tests!r}]))"
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= 14 and "skipped" not in done.stdout, done.stdout[-2000:]


def test_its_cuda_kernel_is_right_on_the_emulated_device(copy: Path) -> None:
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    emulated, native, plugins = (copy / p for p in ("tests/native/cuda/emulated", "tests/native", "plugins"))
    program = copy / "emulated_tests"
    sources = [native / f"cuda/{FILE}_tests.cpp", native / "cuda/operator_tests.cpp", emulated / "emulator.cpp"]
    sources += [native / "cuda/device/device_tests.cpp"]
    include = [f"-I{folder}" for folder in (emulated, native, plugins)]
    kernel = ["-xc++", plugins / f"kernels/cuda/{FILE}.cu", "-xnone"]
    define = '-DADROIT_CUDA_EMULATOR="emulator.h"'
    command = ["g++", "-std=c++17", "-O1", "-fno-strict-aliasing", define, *include, *kernel, *sources, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    done = subprocess.run([program, "5"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"{FILE} float16: 5 shapes" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("name", "message"), [("soft_sign", "no name of an operator"), ("AdaptiveFilter", "already"), ("", "no name")]
)
def test_a_wrong_name_is_refused_and_writes_nothing(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write_operator(ROOT, name)


def test_a_folder_that_is_no_clone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no clone of adroit"):
        write_operator(tmp_path, NAME)


@pytest.mark.parametrize(("name", "file"), [("AdaptiveFilter", "adaptive_filter"), ("QAdder", "q_adder"), ("X", "x")])
def test_files_are_named_after_the_operator(name: str, file: str) -> None:
    assert file_name(name) == file
