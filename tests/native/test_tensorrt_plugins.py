"""The TensorRT plugin library under the host that plays the builder.

The host loads it by dlopen under the sanitizers, and through the plugin registry of real TensorRT runtimes.

Needs TensorRT's headers, which no package index has: TENSORRT_ROOT names the folder above
include/NvInferRuntime.h, or several folders with ":" between them (say of 10.3 and 11.1). The runtimes are the
lean ones: in the folders that ADROIT_TENSORRT_LEAN names, else installed by pip into build/.
Without headers everything here that needs them is skipped, and says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.operators.definitions import DOMAIN, operators, plugin_files, session_operators
from tests.conftest import ROOT, Adroit
from tests.native.cmake import built_or_skipped
from tests.native.tensorrt_host.cases import write_cases
from tests.native.tensorrt_host.faults import FATAL, FAULTS, MEMORY, write_fault_case

ROOTS = [Path(root) for root in os.environ.get("TENSORRT_ROOT", "").split(":") if root]
LEAN = {10: "10.16.1.11", 11: "11.4.0.106"}
HOST = "tests/native/tensorrt_host"

pytestmark = pytest.mark.timeout(900)


def headers() -> list[Path]:
    if not ROOTS:
        pytest.skip("TensorRT's headers are not here: set TENSORRT_ROOT to the folder above include/NvInferRuntime.h")
    return ROOTS


def major_version(root: Path) -> int:
    """Returns TensorRT's major version that the headers are of."""
    text = (root / "include/NvInferVersion.h").read_text()
    found = re.search(r"define (?:NV_TENSORRT_MAJOR|TRT_MAJOR_ENTERPRISE) (\d+)", text)
    assert found, f"no version in the headers of {root}"
    return int(found[1])


def build(root: Path, sanitize: bool) -> Path:
    """The folder with plugin_host and plugins/libadroit_tensorrt.so (over emulated launchers)."""
    name = f"tensorrt-tests/{root.name}{'-sanitized' if sanitize else ''}"
    return built_or_skipped(HOST, name, f"-DTENSORRT_ROOT={root}", f"-DSANITIZE={'ON' if sanitize else 'OFF'}")


def lean_runtime(major: int) -> Path:
    """libnvinfer_lean.so of this major version: named, or fetched by pip once into build/."""
    named = [Path(p) for p in os.environ.get("ADROIT_TENSORRT_LEAN", "").split(":") if p]
    fetched = ROOT / "build" / f"tensorrt-lean-{LEAN[major]}"
    pattern = f"tensorrt_lean_libs/libnvinfer_lean.so.{major}"
    for folder in (*named, fetched):
        if (folder / pattern).is_file():
            return folder / pattern
    if named:
        pytest.skip(f"ADROIT_TENSORRT_LEAN names no lean runtime of TensorRT {major}")
    packages = [f"tensorrt-lean-cu13-{part}=={LEAN[major]}" for part in ("libs", "bindings")]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", fetched, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (fetched / pattern).is_file():
        pytest.skip(f"the lean runtime of TensorRT {LEAN[major]} cannot be installed: {done.stderr.strip()[-300:]}")
    return fetched / pattern


def host(build_folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(build_folder / "plugin_host"), *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="session")
def sanitized() -> Path:
    """The build under the sanitizers, for the first of the headers."""
    return build(headers()[0], sanitize=True)


@pytest.fixture(scope="session")
def builds() -> list[tuple[int, Path]]:
    """For each of the headers: its major version and the plain build."""
    return [(major_version(root), build(root, sanitize=False)) for root in headers()]


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="session")
def fault_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fault_case(tmp_path_factory.mktemp("faults"))


def passes(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1500:]
    found = re.search(r"(\d+) checks over \d+ cases, 0 failed", done.stdout)
    assert found and int(found[1]) > 10_000
    expected = [f"{name} {operator.version} {DOMAIN}" for name, operator in operators().items()]
    assert sorted(re.findall(r"^plugin (.*)$", done.stdout, re.M)) == sorted(expected)


def test_every_operator_passes_under_the_sanitizers(sanitized: Path, cases: Path) -> None:
    done = host(sanitized, sanitized / "plugins/libadroit_tensorrt.so", cases, "--host-memory")
    passes(done)
    # Whatever is refused is refused with a reason.
    assert "adroit: AdderConv2d: field strides is missing" in done.stderr
    assert "runtime error" not in done.stderr


@pytest.mark.parametrize("major", LEAN)
def test_every_build_passes_through_the_registry_of(major: int, builds: list[tuple[int, Path]], cases: Path) -> None:
    """A library built with headers of either major version runs on both; the host needs the runtime's own."""
    hosts = [folder for version, folder in builds if version == major]
    if not hosts:
        pytest.skip(f"TENSORRT_ROOT names no headers of TensorRT {major}")
    runtime = lean_runtime(major)
    for _, folder in builds:
        library = folder / "plugins/libadroit_tensorrt.so"
        passes(host(hosts[0], library, cases, "--host-memory", "--mutations", 300, "--runtime", runtime))


def test_a_host_of_another_major_version_says_so(builds: list[tuple[int, Path]], cases: Path) -> None:
    major, folder = builds[0]
    other = lean_runtime(21 - major)
    done = host(folder, folder / "plugins/libadroit_tensorrt.so", cases, "--runtime", other)
    assert done.returncode == 2 and "headers of TensorRT" in done.stderr


def test_kernels_on_the_gpu(cases: Path) -> None:
    """The library that ADROIT_TENSORRT_LIBRARY names, else the installed one, with its real kernels."""
    folder = build(headers()[0], sanitize=False)
    library = Path(os.environ.get("ADROIT_TENSORRT_LIBRARY") or str(plugin_files() / "libadroit_tensorrt.so"))
    if not library.is_file():
        pytest.skip("libadroit_tensorrt.so is not installed: it is built where nvcc and TensorRT's headers are")
    done = host(folder, library, cases)
    passes(done)
    skipped = re.search(r"SKIP (.*)", done.stdout)
    if skipped:
        pytest.skip(f"all but the kernels passed; {skipped[1]}")


def test_the_host_takes_a_library_that_is_not_ours(sanitized: Path, fault_case: Path) -> None:
    done = host(sanitized, sanitized / "libfaulty_plugins.so", fault_case, "--host-memory", FAULT="")
    assert done.returncode == 0 and ", 0 failed" in done.stdout, done.stdout


@pytest.mark.parametrize("fault", [*FAULTS, *FATAL, *MEMORY])
def test_the_host_notices(fault: str, sanitized: Path, fault_case: Path) -> None:
    done = host(sanitized, sanitized / "libfaulty_plugins.so", fault_case, "--host-memory", FAULT=fault)
    assert done.returncode != 0
    assert {**FAULTS, **FATAL, **MEMORY}[fault] in done.stdout + done.stderr


def test_nothing_but_the_two_symbols_leaves_the_library(builds: list[tuple[int, Path]]) -> None:
    for _, folder in builds:
        library = folder / "plugins/libadroit_tensorrt.so"
        listed = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
        assert [line.split()[-1] for line in listed.stdout.splitlines()] == ["getCreators", "setLoggerFinder"]


@pytest.mark.parametrize("major", LEAN)
def test_plugins_check_asks_the_registry(
    major: int, builds: list[tuple[int, Path]], lenet_entry: Deployment, adroit: Adroit
) -> None:
    """From Python, with the bindings that come with the lean runtime."""
    library = builds[0][1] / "plugins/libadroit_tensorrt.so"
    folder = str(lean_runtime(major).parents[1])
    result = adroit("plugins", "check", library, "--model", lenet_entry.path, environment={"PYTHONPATH": folder})
    assert result.code == 0, result.err
    assert f"by the registry of TensorRT {LEAN[major]}" in result.out
    assert "4 of 4 custom nodes are served" in result.out
    for name in operators():
        assert f"{name}, version 1, namespace adroit" in result.out


def test_the_descriptions_made_at_build_time_compile_without_any_framework(tmp_path: Path) -> None:
    """The part of it that a machine without TensorRT can prove: names and ranges become constants."""
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    script = ROOT / "plugins/describe_operators.py"
    subprocess.run([sys.executable, script, ROOT / "plugins/operators.toml", tmp_path], check=True)
    checks = []
    for name, operator in {**operators(), **session_operators()}.items():
        constant = f"adroit::description::k{name}"
        checks.append(f"static_assert({constant}.inputs.size == {len(operator.inputs)});")
        checks.append(f"static_assert({constant}.attributes.size == {len(operator.attributes)});")
        for i, attribute in enumerate(operator.attributes.values()):
            one = f"{constant}Attributes[{i}]"
            checks += [
                f'static_assert(std::string_view({one}.name) == "{attribute.name}");',
                f"static_assert({one}.minimum == {attribute.minimum} && {one}.maximum == {attribute.maximum});",
                f"static_assert({one}.length == {attribute.length});",
                f"static_assert({one}.value_count == {len(attribute.values)});",
            ]
    source = tmp_path / "check.cpp"
    source.write_text("\n".join(["#include <string_view>", '#include "operators.h"', *checks, ""]))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT / 'plugins'}", f"-I{tmp_path}"]
    done = subprocess.run(["g++", *flags, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
