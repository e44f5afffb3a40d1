"""A box that only runs and serves: how many packages it takes, and what the other commands say there."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.extras import EXTRAS, missing_package
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import read_images
from tests.conftest import ROOT, Result
from tests.deploy.cli.test_commands import COMMANDS
from tests.deploy.serve.server import running

for needed in ("onnxruntime", "uvicorn"):
    try:
        importlib.metadata.distribution(needed)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{needed} is not installed: pip install '.[cpu,serve]'", allow_module_level=True)

MOST_PACKAGES = 20  # beside the runtime
RUN = ("--operators", "portable", "--threads", "1")


def closure(package: str, *extras: str) -> set[str]:
    """The package and all that it requires, by the metadata of what is installed here."""
    found: dict[str, set[str]] = {}
    waiting = [(package, {"", *extras})]
    while waiting:
        name, wanted = waiting.pop()
        name = canonicalize_name(name)
        if wanted <= found.get(name, set()):
            continue
        found[name] = found.get(name, set()) | wanted
        for text in importlib.metadata.requires(name) or ():
            required = Requirement(text)
            if required.marker is None or any(required.marker.evaluate({"extra": extra}) for extra in wanted):
                waiting.append((required.name, {"", *required.extras}))
    return set(found)


@functools.cache
def light_code() -> str:
    """Runs the command line where nothing can be imported but what `adroit-deploy[cpu,serve]` installs."""
    installed = closure("adroit-deploy", "cpu", "serve")
    names = [
        module
        for module, packages in importlib.metadata.packages_distributions().items()
        if not any(canonicalize_name(package) in installed for package in packages)
    ]
    assert {"torch", "onnx", "jinja2", "scipy", "ml_dtypes"} <= set(names)
    assert not {"adroit", "numpy", "onnxruntime", "google", "PIL", "grpc"} & set(names)
    return f"import sys; sys.modules.update(dict.fromkeys({names!r}))\nfrom adroit.deploy.cli.main import main; main()"


def light(*arguments: object, code: str | None = None) -> Result:
    command = [sys.executable, "-c", code or light_code(), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def expected(deployment: Deployment, images: Path) -> np.ndarray:
    """Logits of the images, run here."""
    image_set = read_images(str(images))
    with open_runtime(deployment, RuntimeOptions(operators=OperatorForm.portable, threads=1)) as runtime:
        ((_, x),) = image_set.batches(deployment.info.preprocessing, len(image_set))
        return runtime.run(deployment.feeds(x))[deployment.info.outputs[0].name]


def test_serving_takes_few_packages_beside_the_runtime() -> None:
    needed = closure("adroit-deploy", "serve") - closure("onnxruntime")
    assert "adroit-deploy" in needed
    assert len(needed) <= MOST_PACKAGES, sorted(needed)


def test_extras_are_those_of_pyproject() -> None:
    for extra, packages in EXTRAS.items():
        own = closure_of_extra(extra) - {"adroit-deploy"}
        assert own == set(packages), extra
    everything = closure("adroit-deploy", *EXTRAS)
    assert {"torch", "scikit-learn", "uvicorn", "onnxruntime", "tensorboard"} <= everything


def test_typers_upper_bound_stays_while_newer_versions_bring_pydantic() -> None:
    """Four packages more on a box that only runs. It fails where the bound may go, or went too early."""
    (bounds,) = [
        r.specifier for r in map(Requirement, importlib.metadata.requires("adroit-deploy") or ()) if r.name == "typer"
    ]
    newer = Version(importlib.metadata.version("typer")) >= Version("0.29")
    bounded = not bounds.contains("999")
    assert bounded is not (newer and "pydantic" not in closure("typer"))


def closure_of_extra(extra: str) -> set[str]:
    """What the extra itself names."""
    requirements = map(Requirement, importlib.metadata.requires("adroit-deploy") or ())
    return {
        canonicalize_name(r.name)
        for r in requirements
        if r.marker is not None and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate({"extra": ""})
    }


def test_a_light_box_runs_a_deployment(resnet_deployment: Deployment, images: Path, tmp_path: Path) -> None:
    ran = light("run", resnet_deployment.path, "--data", images, "-o", tmp_path / "outputs.npz", *RUN)
    assert ran.code == 0, ran.err
    name = resnet_deployment.info.outputs[0].name
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npz")[name], expected(resnet_deployment, images))


def test_a_light_box_serves_a_deployment(resnet_deployment: Deployment, images: Path, tmp_path: Path) -> None:
    pixels = read_images(str(images))
    ((_, x),) = pixels.batches(resnet_deployment.info.preprocessing, len(pixels))
    tensor = {"name": "image", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
    with running(tmp_path, resnet_deployment.path.parent, "--operators", "portable", code=light_code()) as server:
        path = f"/v2/models/{resnet_deployment.path.name}/infer"
        status, body = server.post(path, json.dumps({"inputs": [tensor]}).encode())
        assert status == 200, body
        (output,) = json.loads(body)["outputs"]
        served = np.array(output["data"], np.float32).reshape(output["shape"])
        np.testing.assert_array_equal(served, expected(resnet_deployment, images))
        assert server.stop() == 0


def test_every_command_has_its_help_on_a_light_box() -> None:
    code = light_code().replace("main()", "", 1).removesuffix("main()")
    asking = (
        f"for command in {[[], *([name] for name in COMMANDS), ['plugins', 'check']]!r}:\n"
        "    try: main([*command, '--help'])\n"
        "    except SystemExit as end: assert not end.code, command\n"
    )
    result = light(code=code + "\n" + asking)
    assert result.code == 0, result.err
    assert result.out.count("Usage:") == len(COMMANDS) + 2


@pytest.mark.parametrize(
    ("command", "extra", "arguments"),
    [
        ("import", "export", ["adder-resnet20", "{images}", "-o", "{folder}/new"]),
        ("export", "export", ["{deployment}/reference", "-o", "{folder}/new"]),
        ("check", "export", ["{deployment}", "--data", "{images}"]),
        ("quantize", "export", ["{deployment}", "--data", "{images}", "-o", "{folder}/new"]),
        ("profile", "export", ["{deployment}", "--seconds", "0.1"]),
        ("build", "export", ["{deployment}", "--backend", "onnxruntime"]),
        ("train", "train", ["digits-adder-lenet5", "-o", "{folder}/new"]),
    ],
)
def test_other_commands_tell_what_to_install(
    command: str, extra: str, arguments: list[str], resnet_deployment: Deployment, images: Path, tmp_path: Path
) -> None:
    filled = [text.format(deployment=resnet_deployment.path, images=images, folder=tmp_path) for text in arguments]
    result = light(command, *filled)
    assert result.code == 5 and "Traceback" not in result.err, result.err
    assert f"error: `adroit {command}` needs packages that are not installed\n  missing  torch, onnx, " in result.err
    assert result.err.endswith(f"hint: pip install 'adroit-deploy[{extra}]'\n")
    assert not (tmp_path / "new").exists()


def test_the_runtime_torch_tells_what_to_install(resnet_deployment: Deployment, images: Path) -> None:
    result = light("run", resnet_deployment.path, "--data", images, "--top", "1", "--runtime", "torch")
    assert (result.code, result.out) == (5, "")
    assert "the runtime torch needs packages that are not installed" in result.err
    assert "Traceback" not in result.err


def test_doctor_tells_which_extras_are_there() -> None:
    result = light("doctor", "--json")
    assert result.code == 0, result.err
    findings = {finding["name"]: finding for finding in json.loads(result.out)}
    usable = {name: findings[name]["usable"] for name in ("onnxruntime", "serve", "export", "train")}
    assert usable == {"onnxruntime": True, "serve": True, "export": False, "train": False}
    assert "without torch, onnx, " in findings["export"]["detail"]
    assert findings["train"]["remedy"] == "pip install 'adroit-deploy[train]'"


def test_an_import_of_ours_that_fails_is_a_bug_and_a_broken_package_is_not() -> None:
    assert (
        missing_package(
            ImportError("cannot import name 'x'", name="adroit.deploy.deployment.deployment"), "`adroit run`"
        )
        is None
    )
    broken = missing_package(
        ImportError("libcudart.so.13: cannot open shared object file", name="torch._C"), "`adroit check`"
    )
    assert broken is not None and broken.exit_code == 5
    assert "torch, which cannot be imported" in broken.message and "libcudart" in str(broken)
