"""What the commands print and how they exit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from syrupy.assertion import SnapshotAssertion

from adroit.deploy.deployment.deployment import Deployment
from adroit.files import sha256
from tests.conftest import ROOT, Adroit

COMMANDS = [
    "train", "import", "export", "quantize", "build", "check", "run", "profile", "routes", "budget", "serve",
    "kserve", "list", "inspect", "doctor",
]  # fmt: skip


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    result = adroit(*command.split(), "--help")
    assert result.code == 0
    assert result.out == snapshot


def test_help_imports_nothing_heavy() -> None:
    """Of any command, all in one process."""
    code = (
        "import sys; from adroit.deploy.cli.main import main\n"
        f"for command in {COMMANDS}:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit: pass\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'jinja2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["run"], ["check", "deployment", "--threads", "0", "--data", "x"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str], adroit: Adroit) -> None:
    result = adroit(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err


def _masked(text: str) -> str:
    """Measured figures and versions are masked; words, layout and counts stay."""
    text = re.sub(r" {2,}", "  ", text)
    text = re.sub(r"onnxruntime \d\S*", "onnxruntime VERSION", text)
    text = re.sub(r"native, \w+", "native, SET", text)
    return re.sub(r"\d+\.\d+(e-\d+)?|\d+e-\d+|at \[.*\]", "#", text)


def test_check_prints_the_verdict(
    lenet_deployment: Deployment, images: Path, adroit: Adroit, snapshot: SnapshotAssertion
) -> None:
    result = adroit("check", lenet_deployment.path, "--data", images, "--operators", "portable", "--layers")
    assert result.code == 0, result.err
    assert _masked(result.out) == snapshot


def test_check_stores_the_verdict_in_the_deployment(
    lenet_deployment: Deployment, images: Path, adroit: Adroit, tmp_path: Path
) -> None:
    shutil.copytree(lenet_deployment.path, tmp_path / "deployment")
    result = adroit(
        "check", tmp_path / "deployment", "--data", images, "--operators", "portable", "--json", "--images", 5
    )
    assert json.loads(result.out)["images"] == 5
    parity = Deployment.read(tmp_path / "deployment").info.parity
    assert parity is not None
    assert parity.passed is True
    assert parity.images == 5


def test_a_wrong_deployment_exits_with_3_and_names_the_layer(
    lenet_deployment: Deployment, images: Path, adroit: Adroit, tmp_path: Path
) -> None:
    shutil.copytree(lenet_deployment.path, tmp_path / "deployment")
    file = tmp_path / "deployment" / "1" / "model.onnx"
    model = onnx.load(file)
    (tensor,) = [t for t in model.graph.initializer if t.name == "features.4.weight"]
    wrong = numpy_helper.to_array(tensor).copy()
    wrong[2, 1, 4, 4] += 0.5
    tensor.CopyFrom(numpy_helper.from_array(wrong, tensor.name))
    onnx.save(model, file)
    description = json.loads((tmp_path / "deployment" / "adroit.json").read_text())
    description["model"]["sha256"] = sha256(file)
    (tmp_path / "deployment" / "adroit.json").write_text(json.dumps(description))
    result = adroit("check", tmp_path / "deployment", "--data", images, "--operators", "portable", "--layers")
    assert result.code == 3
    assert result.out.endswith("FAILED\n")
    assert "first wrong layer  ONNX node features.4, module features.6" in result.err


def test_run_writes_named_arrays_and_prints_labels(
    lenet_deployment: Deployment, images: Path, adroit: Adroit, tmp_path: Path
) -> None:
    outputs = {}
    for runtime in ("onnxruntime", "torch"):
        path = tmp_path / f"{runtime}.npz"
        result = adroit(
            "run", lenet_deployment.path, "--data", images, "-o", path, "--top", 2, "--json", "--runtime", runtime,
            "--operators", "portable", "--threads", 1, "--batch", 5, "--images", 11,
        )  # fmt: skip
        assert result.code == 0, result.err
        labels = json.loads(result.out)
        assert len(labels) == 11
        names = {f"class {i}" for i in range(10)}
        assert all(len(row["predictions"]) == 2 and row["predictions"][0]["label"] in names for row in labels)
        outputs[runtime] = np.load(path)
    assert set(outputs["torch"].files) == {"names", "logits"}
    assert list(outputs["torch"]["names"]) == [str(i) for i in range(11)]
    np.testing.assert_allclose(outputs["torch"]["logits"], outputs["onnxruntime"]["logits"], atol=1e-3)


def test_run_without_a_use_for_the_outputs_is_refused(
    lenet_deployment: Deployment, images: Path, adroit: Adroit
) -> None:
    result = adroit("run", lenet_deployment.path, "--data", images)
    assert result.code == 2
    assert "hint: give --output" in result.err


def test_profile_compares_side_by_side(lenet_deployment: Deployment, adroit: Adroit, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    result = adroit(
        "profile", lenet_deployment.path, "--runtime", "onnxruntime", "--runtime", "torch", "--operators", "portable",
        "--threads", 1, "--seconds", 0.2, "--json", "--html", report,
    )  # fmt: skip
    assert result.code == 0, result.err
    values = json.loads(result.out)
    assert [c["title"] for c in values["candidates"]] == ["adder-lenet5-bn onnxruntime", "adder-lenet5-bn torch"]
    for candidate in values["candidates"]:
        assert candidate["operations"]["absolute_differences"] == 415_680
        assert candidate["operations"]["multiply_adds"] == 840
        latency = candidate["latency_milliseconds"]
        assert 0 < latency["low"] <= latency["median"] <= latency["high"] <= latency["p99"]
        assert latency["median"] <= latency["p90"] <= latency["p99"]
    html = report.read_text()
    assert "http" not in html.replace("http-equiv", "")  # self-contained
    assert "features.4" in html


def test_profile_prints_a_table(lenet_deployment: Deployment, adroit: Adroit) -> None:
    result = adroit(
        "profile", lenet_deployment.path, "--operators", "portable", "--seconds", 0.1, "--layers", alone=True
    )
    assert result.code == 0, result.err
    heading, row = (line.split() for line in result.out.split("\n\n")[1].splitlines())
    assert heading[:2] == ["deployment", "median"]
    assert row[-4:] == ["840", "415680", "25838", "0"]
    assert "features.0  AdderConv2d  1x6x28x28" in re.sub(" +", "  ", result.out)


def test_doctor_reports_and_never_fails(adroit: Adroit) -> None:
    result = adroit("doctor", "--json")
    assert result.code == 0
    findings = {f["name"]: f for f in json.loads(result.out)}
    assert findings["export"]["usable"] and "torch" in findings["export"]["detail"]
    assert findings["portable bodies"]["usable"]
    broken = adroit("doctor", environment={"ADROIT_ONNXRUNTIME_LIBRARY": "/nowhere/lib.so", "PATH": ""})
    assert broken.code == 0
    assert "missing  native operators" in broken.out
    assert "--operators portable" in broken.out


@pytest.mark.parametrize(("version", "warned"), [("1.21.0", True), ("1.30.0", True), ("1.30.1", False)])
def test_doctor_warns_of_an_onnxruntime_with_known_faults(
    version: str, warned: bool, adroit: Adroit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.__version__", version)
    lines = adroit("doctor").out.splitlines()
    (place,) = [i for i, line in enumerate(lines) if line.split()[1] == "onnxruntime"]
    assert lines[place].startswith("warning" if warned else "ok     ")
    assert ("1.30.1" in lines[place + 1]) is warned
