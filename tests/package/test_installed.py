"""adroit installed from a wheel and as an editable install, beside a user's own `models/` and `deploy/`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.cli.test_commands import COMMANDS
from tests.native.cmake import lock

# The first time all is compiled, which may take long on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
# Compiled objects stay here from one run of the tests to the next. Unoptimized: compiling them takes seconds.
BUILD = ROOT / "build" / "installed"
# What an editable install adds: the hook that finds our folders.
HOOK = "_editable_skbc_adroit_deploy"


@dataclass(frozen=True)
class Installed:
    """A fresh environment: its Python, what the installation put into site-packages, and the user's project."""

    kind: str
    python: Path
    added: set[str]
    project: Path

    def run(self, command: list[object], cwd: Path) -> subprocess.CompletedProcess[str]:
        """Runs a program of the environment with the project on PYTHONPATH."""
        environment = {**os.environ, "PYTHONPATH": str(self.project), "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
        words = [str(self.python.parent / str(command[0])), *map(str, command[1:])]
        return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


def pip(python: Path, *arguments: str) -> None:
    """Runs the pip of the tests for another environment; nothing is downloaded."""
    command = [sys.executable, "-m", "pip", "--python", str(python), *arguments]
    environment = {**os.environ, "SKBUILD_CMAKE_BUILD_TYPE": "Debug", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def environment_with_our_packages(folder: Path) -> tuple[Path, Path]:
    """A venv that sees the packages of the tests' own, but not their adroit; its Python and site-packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # Of a folder that a .pth names no other .pth is read, so the hook of the tests' own editable adroit is not.
    ours = [path for path in sys.path if Path(path).name == "site-packages"] or [sysconfig.get_path("purelib")]
    (site / "packages.pth").write_text("\n".join(ours) + "\n")
    return folder / "bin" / "python", site


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Installs adroit with pip as a user would, and makes the user's project."""
    for needed in ("scikit_build_core", "pip"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install '.[dev]'")
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    kind = request.param
    folder = tmp_path_factory.mktemp(f"installed-{kind}")
    python, site = environment_with_our_packages(folder / "venv")
    before = set(os.listdir(site))
    offline = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", f"--config-settings=build-dir={BUILD}")
    with lock("installed"):
        if kind == "wheel":
            pip(python, "wheel", *offline, "--wheel-dir", str(folder), str(ROOT))
            (wheel,) = folder.glob("adroit_deploy-*.whl")
            pip(python, "install", "--quiet", "--no-deps", "--no-index", str(wheel))
        else:
            pip(python, "install", *offline, "--editable", str(ROOT))
    project = folder / "project"
    for name in ("models", "deploy"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text(f'NAME = "the user\'s {name}"\n')
    return Installed(kind, python, set(os.listdir(site)) - before, project)


def test_site_packages_gets_adroit_alone(installed: Installed) -> None:
    names = {name for name in installed.added if not name.startswith(("adroit_deploy-", HOOK, "__pycache__"))}
    assert names == {"adroit"}
    assert any(name.startswith("adroit_deploy-") and name.endswith(".dist-info") for name in installed.added)
    assert installed.kind == "editable" or not any(name.startswith(HOOK) for name in installed.added)


def test_the_users_own_packages_are_imported(installed: Installed) -> None:
    code = (
        "import adroit, adroit.deploy, adroit.models, models, deploy, sys\n"
        "print(models.NAME, deploy.NAME, sep=', ')\n"
        "print(adroit.__version__, adroit.native_library().name)\n"
        "print(adroit.__file__)"
    )
    for cwd in (installed.project, installed.project.parent):
        done = installed.run(["python", "-c", code], cwd)
        assert done.returncode == 0, done.stderr
        names, version, file = done.stdout.splitlines()
        assert names == "the user's models, the user's deploy"
        assert version.endswith("libadroit_onnxruntime.so")
        source = ROOT if installed.kind == "editable" else installed.python.parents[1]
        assert Path(file).resolve().is_relative_to(source.resolve())


def test_every_command_has_its_help(installed: Installed) -> None:
    code = (
        "from adroit.deploy.cli.main import main\n"
        f"for command in {[[], *([name] for name in COMMANDS), ['plugins', 'check']]!r}:\n"
        "    try: main([*command, '--help'])\n"
        "    except SystemExit as end: assert not end.code, command\n"
    )
    done = installed.run(["python", "-c", code], installed.project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == len(COMMANDS) + 2
    module = installed.run(["python", "-m", "adroit", "--version"], installed.project)
    assert (module.returncode, module.stdout.startswith("adroit ")) == (0, True), module.stderr


@pytest.fixture(scope="module")
def repository(installed: Installed, lenet_checkpoint: Path, images: Path) -> Path:
    """A repository that the installed adroit wrote, checked and ran, in one process."""
    folder = installed.project.parent / "repository"
    output = folder / "outputs.npz"
    commands = [
        ["export", str(lenet_checkpoint), "-o", str(folder)],
        ["check", str(folder / "adder-lenet5-bn"), "--data", str(images), "--images", "4"],
        ["run", str(folder / "adder-lenet5-bn"), "--data", str(images), "-o", str(output), "--top", "1"],
    ]
    code = (
        "import models, deploy\n"
        "from adroit.deploy.cli.main import main\n"
        f"for command in {commands!r}:\n"
        "    try: main(command)\n"
        "    except SystemExit as end: assert not end.code, command\n"
    )
    done = installed.run(["python", "-c", code], installed.project)
    assert done.returncode == 0, done.stderr
    assert "PASSED" in done.stdout and output.is_file()
    return folder


def test_a_build_works_where_the_working_directory_has_traps(installed: Installed, repository: Path) -> None:
    """The child process imports our packages, not the files beside which the user stands."""
    traps = repository.parent / "traps"
    for name in ("adroit.py", "onnx.py", "numpy.py", "json.py", "models.py", "deploy.py"):
        traps.mkdir(exist_ok=True)
        (traps / name).write_text("raise SystemExit('a file of the working directory was imported')\n")
    deployment = repository / "adder-lenet5-bn"
    done = installed.run(["adroit", "build", deployment, "--backend", "onnxruntime"], traps)
    assert done.returncode == 0, done.stderr
    if importlib.util.find_spec("tensorrt_rtx") is None or importlib.util.find_spec("polygraphy") is None:
        pytest.skip("tensorrt-rtx is not installed: pip install '.[rtx]'; ONNX Runtime's build worked")
    rtx = ["--backend", "tensorrt-rtx", "--compute-capability", "89"]
    done = installed.run(["adroit", "build", deployment, *rtx], traps)
    assert done.returncode == 0, done.stderr
    assert "for compute capability" in done.stdout
