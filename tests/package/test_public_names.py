"""The public names of `adroit`: each is there, documented, shown by an example that runs, and used by a command."""

from __future__ import annotations

import ast
import doctest
import importlib.metadata
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import adroit
from adroit.deploy.deployment.deployment import Deployment
from adroit.errors import EnvironmentFault, UsageError
from tests.conftest import ROOT, Adroit, make_checkpoint

FUNCTIONS = sorted(name for name in adroit.__all__ if inspect.isfunction(getattr(adroit, name)))
HEAVY = {"torch", "onnx", "onnxruntime", "onnxscript", "jinja2", "scipy"}
# By command: the public functions that it calls. `budget` calls `calibrate` within `adroit.budget`.
CALLS = {
    "train": {"train"},
    "import_": {"import_checkpoint"},
    "export": {"export"},
    "quantize": {"quantize"},
    "build": {"build", "check_build"},
    "check": {"check"},
    "run": {"run"},
    "profile": {"profile"},
    "routes": {"routes"},
    "budget": {"budget"},
    "serve": {"serve", "triton_command"},
    "kserve": {"kserve_resources"},
    "list_": {"list_networks", "list_operators", "list_recipes", "list_tasks"},
    "inspect_": {"inspect"},
    "plugins": {"check_plugins"},
    "doctor": {"doctor"},
}
# Functions that no command needs: each is a part of one that a command calls, or has no use without Python.
PYTHON_ONLY = {"adopt", "calibrate", "create_network", "native_library", "open"}


@pytest.mark.parametrize("name", adroit.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(adroit, name) is not None
    assert name in dir(adroit)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'exprot'"):
        _ = adroit.exprot  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_package() -> None:
    assert adroit.__version__ == importlib.metadata.version("adroit-deploy")


@pytest.mark.parametrize("statement", ["import adroit", "import adroit.__main__", "import adroit; adroit.open"])
def test_importing_brings_nothing_heavy(statement: str) -> None:
    """Opening a deployment needs no PyTorch; ONNX Runtime is imported when one is opened."""
    code = f"import sys\n{statement}\nprint(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_calls_public_functions_alone() -> None:
    folder = ROOT / "deploy" / "cli"
    calls = {}
    for file in sorted(folder.glob("*.py")):
        tree = ast.parse(file.read_text())
        names = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "adroit"
        }
        if names:
            calls[file.stem] = names
    assert calls == CALLS


def test_every_public_function_is_reached_from_the_command_line() -> None:
    assert {name for called in CALLS.values() for name in called} | PYTHON_ONLY == set(FUNCTIONS)


@pytest.fixture(scope="module")
def scene(
    resnet_checkpoint: Path, resnet_deployment: Deployment, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the examples: checkpoint, repository/mine, repository/routed, photos, scenes, recipe.toml."""
    folder = tmp_path_factory.mktemp("scene")
    shutil.copytree(resnet_checkpoint, folder / "checkpoint")
    shutil.copytree(resnet_deployment.path, folder / "repository" / "mine")
    for name in ("adroit.json", "config.pbtxt"):
        path = folder / "repository" / "mine" / name
        path.write_text(path.read_text().replace('"adder-resnet20"', '"mine"', 1))
    arguments = {"depth": 3, "width": 4, "gate": "normal", "classes": 11}
    routed = make_checkpoint(folder / "routed", "dynamic-small", (64, 64), **arguments)
    adroit.export(routed, folder / "repository" / "routed", routing="if")
    (folder / "photos").mkdir()
    with np.load(images) as archive:
        for i, image in enumerate(archive["images"]):
            Image.fromarray(image).save(folder / "photos" / f"{i}.png")
        np.savez(folder / "labeled.npz", images=archive["images"], labels=archive["labels"])
        scenes = np.kron(archive["images"][:2], np.ones((1, 2, 2, 1), np.uint8))
    (folder / "scenes").mkdir()
    for i, image in enumerate(scenes):
        Image.fromarray(image).save(folder / "scenes" / f"{i}.png")
    (folder / "recipe.toml").write_text(
        'architecture = "adder-lenet5-bn"\nseed = 0\n[data]\ntraining = "labeled.npz"\nvalidation = "labeled.npz"\n'
        "[optimizer]\nepochs = 1\nbatch = 4\nlearning_rate = 0.1\n"
    )
    return folder


@pytest.mark.parametrize("name", [*FUNCTIONS, "nn"])
def test_the_example_of_every_function_runs(name: str, scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The docstring shows a call of the function itself."""
    try:
        adroit.native_library()
    except EnvironmentFault as error:
        pytest.skip(f"the native operators could not be built here: {error.message}")
    monkeypatch.chdir(scene)
    threads = torch.get_num_threads()
    documented = getattr(adroit, name)
    parser = doctest.DocTestParser()
    text = inspect.getdoc(documented) or ""
    example = parser.get_doctest(text, {"adroit": adroit, "np": np, "torch": torch}, f"adroit.{name}", None, 0)
    assert any(name in line.source for line in example.examples), f"adroit.{name} has no example"
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failed = runner.run(example, out=report.append).failed
    torch.set_num_threads(threads)
    assert not failed, "".join(report)


def test_an_opened_deployment_runs_without_pytorch(scene: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnx', 'onnxscript', 'onnx_ir', 'scipy', 'jinja2']))\n"
        "import numpy as np, adroit\n"
        "with adroit.open('repository/mine', operators='portable', threads=1) as net:\n"
        "    print(len(net.predict('photos/0.png')), net.predict(np.zeros((32, 32, 3), np.uint8), top=1)[0].label)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=scene, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 class ")


def test_a_created_network_is_exported_with_labels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = adroit.create_network("adder-lenet5-bn", classes=3)
    deployment = adroit.export(network.eval(), tmp_path / "repository" / "mine", labels=["a", "b", "c"])
    assert deployment.info.labels == ("a", "b", "c")
    assert deployment.info.name == "mine"
    assert deployment.info.outputs[0].shape[1] == 3


def test_a_network_without_an_example_is_refused_with_what_is_possible(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the size of a typical image is not known") as caught:
        adroit.export(torch.nn.Sequential(), tmp_path / "repository" / "mine")
    assert "--size HEIGHTxWIDTH" in str(caught.value)
    assert not (tmp_path / "repository").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), "images are uint8"),
        (np.zeros((8, 8, 3), np.uint8), "images are uint8"),
        ("nowhere", "there is no such data"),
        (["nowhere.png"], "there is no such image"),
    ],
)
def test_images_that_are_none(given: object, message: str, resnet_deployment: Deployment) -> None:
    with pytest.raises(UsageError, match=message):
        adroit.run(resnet_deployment, given, operators="portable", threads=1)  # type: ignore[arg-type]


def test_a_choice_that_does_not_exist_names_those_that_do(resnet_deployment: Deployment) -> None:
    with pytest.raises(UsageError, match=r"runtime is onnxruntime, torch, .*, not 'onnx'"):
        adroit.open(resnet_deployment, runtime="onnx")
    with pytest.raises(UsageError, match=r"backend is tensorrt, tensorrt-rtx, onnxruntime, not 'openvino'"):
        adroit.build(resnet_deployment, "openvino")


def test_inspecting_tells_what_a_deployment_is(scene: Path, adroit: Adroit) -> None:
    result = adroit("inspect", scene / "repository" / "routed")
    assert result.code == 0, result.err
    lines = dict(line.split("  ", 1) for line in result.out.splitlines())
    lines = {name.strip(): text.strip() for name, text in lines.items()}
    assert lines["task"] == "segmentation, 11 names of classes"
    assert lines["gates"] == "form if, threshold an input"
    assert "RoutingGate" in lines["operators"]
    assert lines["reference"].startswith("there")
    result = adroit("inspect", scene / "nowhere")
    assert (result.code, "is not a deployment" in result.err) == (2, True)


@pytest.mark.parametrize("kind", ["networks", "recipes", "tasks", "operators"])
def test_lists_are_names_one_a_line(kind: str, adroit: Adroit) -> None:
    import json

    lines = adroit("list", kind).out.splitlines()
    assert lines and lines == json.loads(adroit("list", kind, "--json").out)


def test_the_version_is_printed(adroit: Adroit) -> None:
    assert adroit("--version").out == f"adroit {importlib.metadata.version('adroit-deploy')}\n"
