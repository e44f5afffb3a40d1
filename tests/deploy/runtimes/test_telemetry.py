"""ONNX Runtime's telemetry is off in whatever imports it through adroit, unless the user turns it on."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adroit.deploy.runtimes.onnxruntime_package import VARIABLE, import_onnxruntime, telemetry_is_wanted
from tests.conftest import ROOT, Adroit

HOME = "deploy/runtimes/onnxruntime_package.py"
# ONNX Runtime sends nothing where it believes to be in continuous integration or in its own tests.
CI = (
    "CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TRAVIS", "JENKINS_URL", "CODEBUILD_BUILD_ID",
    "BUILDKITE", "TEAMCITY_VERSION", "APPVEYOR", "BITBUCKET_BUILD_NUMBER", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI",
    "ORT_RUNNING_UNIT_TESTS",
)  # fmt: skip
# A session is opened, and a process of its own opens another.
OPEN_TWICE = """
import multiprocessing
import numpy as np
from adroit.deploy.runtimes.onnxruntime_package import import_onnxruntime

def open_session():
    onnxruntime = import_onnxruntime()
    onnxruntime.SessionOptions()
    assert onnxruntime.get_available_providers()

if __name__ == "__main__":
    open_session()
    child = multiprocessing.get_context("spawn").Process(target=open_session)
    child.start()
    child.join()
    assert child.exitcode == 0
"""


def users_environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a user at a machine that has never seen ONNX Runtime."""
    left_out = {*CI, VARIABLE, "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"}
    return {**{k: v for k, v in os.environ.items() if k not in left_out}, "HOME": str(home), **more}


@pytest.mark.parametrize("writable", [True, False])
def test_nothing_is_written_into_the_home_and_nothing_is_said(writable: bool, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir() if writable else home.write_text("a file, in which not even root can make a folder")
    script = tmp_path / "script.py"
    script.write_text(OPEN_TWICE)
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=users_environment(home), capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not writable or list(home.rglob("*")) == []


@pytest.mark.parametrize(
    ("written", "wanted", "becomes"),
    [(None, False, "1"), ("", False, "1"), ("1", False, "1"), ("please", False, "1"),
     ("0", True, "0"), ("off", True, "off"), (" False ", True, " False ")],
)  # fmt: skip
def test_a_users_own_setting_is_kept(
    written: str | None, wanted: bool, becomes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    if written is not None:
        monkeypatch.setenv(VARIABLE, written)
    assert telemetry_is_wanted() is wanted
    import_onnxruntime()
    assert os.environ[VARIABLE] == becomes


def test_telemetry_of_a_program_that_imported_it_first_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("onnxruntime.disable_telemetry_events", lambda: calls.append("disabled"))
    import_onnxruntime()
    assert calls == ["disabled"]
    monkeypatch.setenv(VARIABLE, "0")
    import_onnxruntime()
    assert calls == ["disabled"]


def test_one_file_alone_imports_it() -> None:
    importing = [
        str(path.relative_to(ROOT))
        for folder in ("deploy", "models", "src/adroit/api")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if any(name.partition(".")[0] == "onnxruntime" for name in imported(node))
    ]
    assert importing == [HOME]


def imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


@pytest.mark.parametrize(("setting", "says"), [("1", "reports nothing"), ("0", "ORT_DISABLE_TELEMETRY=0 turns it on")])
def test_doctor_tells(setting: str, says: str, adroit: Adroit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, setting)
    (line,) = [line for line in adroit("doctor").out.splitlines() if "telemetry" in line]
    assert says in line
