"""Fixtures of many tests: data that may be absent, and checkpoints with random weights."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
import torch

# The rest of adroit is imported where it is used: the checks on a GPU run without its packages (tests/gpu/check.py).
if TYPE_CHECKING:
    from adroit.deploy.deployment.deployment import Deployment

# Small tensors: more threads only wait for each other, and on shared cores for long.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# Tests import ONNX Runtime themselves, too: they send nobody anything.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published weights and images; absent on a user's machine."""
    if not SHARED.is_dir():
        pytest.skip(f"published weights and images are not here: {SHARED}")
    return SHARED


@dataclass(frozen=True)
class Result:
    """A finished command: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Adroit = Callable[..., Result]


@pytest.fixture(scope="session")
def adroit() -> Adroit:
    """Runs the command line; in a process of its own, as a user does, with `alone` or an environment of its own.

    Else in this process, which spares the seconds that importing PyTorch takes.
    """

    def run(
        *arguments: object, environment: dict[str, str] | None = None, alone: bool = False, cwd: Path = ROOT
    ) -> Result:
        words = [str(argument) for argument in arguments]
        variables = {"NO_COLOR": "1", "COLUMNS": "100", "TERM": "dumb", **(environment or {})}
        if not alone and environment is None:
            with patch.dict(os.environ, variables), patch.object(sys, "argv", ["adroit"]):
                return _run_here(words, cwd)
        command = [sys.executable, "-c", "from adroit.deploy.cli.main import main; main()", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **variables}, cwd=cwd, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


def _run_here(words: list[str], cwd: Path) -> Result:
    """The command in this process, which it leaves as it was."""
    from adroit.deploy.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    threads = torch.get_num_threads()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with warnings.catch_warnings():
                main(words)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            torch.set_num_threads(threads)
    return Result(code, out.getvalue(), err.getvalue())


def make_checkpoint(folder: Path, architecture: str, size: tuple[int, int], **arguments: object) -> Path:
    """A checkpoint with random weights whose batch norms have seen data, so that activations are alive."""
    from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
    from adroit.models.networks.architectures import architecture_named, build_network

    torch.manual_seed(0)
    network = build_network(architecture, arguments)
    known = architecture_named(architecture)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            module.momentum = None  # the plain average over what is seen
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(4, len(known.preprocessing.mean), *size))
    labels = [f"class {i}" for i in range(int({**known.defaults, **arguments}["classes"]))]
    config = CheckpointConfig(architecture, known.preprocessing, arguments, labels, {"seed": 0})
    save_checkpoint(folder, network.eval(), config)
    return folder


@pytest.fixture(scope="session")
def resnet_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adder ResNet-20 with random weights."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "resnet20", "adder-resnet20", (32, 32))


@pytest.fixture(scope="session")
def lenet_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adder LeNet-5-BN with random weights."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "lenet5", "adder-lenet5-bn", (32, 32))


@pytest.fixture(scope="session")
def resnet_deployment(resnet_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The exported ResNet-20; do not change it."""
    from adroit.deploy.export.deployment import export_deployment

    return export_deployment(resnet_checkpoint, tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def lenet_deployment(lenet_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The exported LeNet-5-BN; do not change it."""
    from adroit.deploy.export.deployment import export_deployment

    return export_deployment(lenet_checkpoint, tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs' worth of color: crops of scikit-learn's sample images, 32 x 32, with labels."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    random = np.random.default_rng(0)
    crops = []
    for i in range(12):
        top, left = int(random.integers(0, 300)), int(random.integers(0, 500))
        crops.append(photographs[i % 2][top : top + 96 : 3, left : left + 96 : 3])
    path = tmp_path_factory.mktemp("images") / "photographs.npz"
    np.savez(path, images=np.stack(crops), labels=np.arange(12) % 10)
    return path
