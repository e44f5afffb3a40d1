"""The numbered lessons of examples/ run to their end, and say what they are there to show."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch

import adroit
from tests.conftest import ROOT
from tests.gpu.build import onnxruntime_headers

EXAMPLES = ROOT / "examples"


def run(name: str, argument: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", [name, str(argument)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def test_every_lesson_is_run_here() -> None:
    lessons = {path.stem for path in EXAMPLES.glob("[0-9]*")}
    assert lessons == {
        "1_own_classifier", "2_own_unet", "3_adopt_public_code", "4_two_inputs", "5_plain_onnxruntime",
    }  # fmt: skip


def test_own_classifier_and_its_use_by_plain_onnxruntime(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run("1_own_classifier", tmp_path, capsys, monkeypatch)
    assert "passed" in out and re.search(r"^(cat|dog|ship): ", out, re.MULTILINE)
    assert run("5_plain_onnxruntime", tmp_path / "classifier", capsys, monkeypatch) == "output0 (1, 3)\n"
    assert plain_cpp(tmp_path / "classifier", tmp_path / "plain").startswith("output0 ")


def plain_cpp(deployment: Path, program: Path) -> str:
    """Compiles the C++ lesson as its first lines say, runs it, and returns what it prints."""
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if not compiler:
        pytest.skip("there is no C++ compiler")
    (packaged,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    library = program.with_name("libonnxruntime.so.1")  # the name that programs look for; the wheel has another
    library.symlink_to(packaged)
    command = [compiler, "-std=c++17", str(EXAMPLES / "5_plain_onnxruntime.cpp"), "-I", str(onnxruntime_headers())]
    subprocess.run([*command, str(library), f"-Wl,-rpath,{library.parent}", "-o", str(program)], check=True)
    arguments = [str(program), str(adroit.native_library()), str(deployment / "1" / "model.onnx"), "32", "32"]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


def test_own_unet(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = run("2_own_unet", tmp_path, capsys, monkeypatch)
    assert all(float(share) < 1 for share in re.findall(r": ([\d.]+) of the limit used", out))
    assert out.count("of the limit used") == 2


def test_adopted_public_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    out = run("3_adopt_public_code", tmp_path, capsys, monkeypatch)
    torch.set_num_threads(threads)
    assert out.count("adopted ") == 2 and "adopted: True" in out
    assert out.count("writes out an L1 distance") == 2  # of the network as it is
    assert re.search(r"^\d+ times as fast$", out, re.MULTILINE)


def test_two_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = run("4_two_inputs", tmp_path, capsys, monkeypatch)
    assert "view float32 [batch, 3, 32, 32]" in out and "value float32 [batch, 1]" in out
