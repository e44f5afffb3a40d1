"""A repository with one model of each family, and a server on it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from adroit.deploy.deployment.budget_table import BudgetCost, BudgetTable, Setting
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.writer import record_results
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.native import native_library
from adroit.errors import EnvironmentFault
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.networks.architectures import architecture_named
from tests.conftest import Adroit, make_checkpoint
from tests.deploy.serve.photographs import routed_images
from tests.deploy.serve.server import Server, running
from tests.models.networks.routed import routed_network

MISSING = [
    name
    for name in ("uvicorn", "httptools", "uvloop", "grpc", "msgspec", "prometheus_client")
    if importlib.util.find_spec(name) is None
]
if MISSING:  # test_installed.py says so
    collect_ignore = [p.name for p in Path(__file__).parent.glob("test_*.py") if p.name != "test_installed.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests long: the first one of a run exports four networks, which takes minutes on a busy machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1200))


CLASSES = 11
THRESHOLDS = (0.0, 0.3, 1.0)


@pytest.fixture(scope="session")
def operators() -> OperatorForm:
    """The native operators where they were built, else the portable ones."""
    try:
        native_library()
    except EnvironmentFault:
        return OperatorForm.portable
    return OperatorForm.native


@pytest.fixture(scope="session")
def repository(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of adder-resnet20, adder-lenet5-bn (gray, 32 x 32 only), aa-cifar-resnet20 and `routed` (dynamic).

    All processes of a test run share it: do not change it.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, complete = shared / "served", shared / "served.complete"
    with FileLock(shared / "served.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            deployments = [request.getfixturevalue(f"{name}_deployment") for name in ("resnet", "lenet")]
            fill_repository(folder, deployments, tmp_path_factory)
            complete.touch()
    return folder


def fill_repository(folder: Path, deployments: list[Deployment], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Copy `deployments` into the folder, and export the other two."""
    for deployment in deployments:
        shutil.copytree(deployment.path, folder / deployment.path.name)
    filtered = make_checkpoint(tmp_path_factory.mktemp("aa") / "aa", "aa-cifar-resnet20", (32, 32), groups=4)
    export_deployment(filtered, folder)
    network = routed_network(3, 8, "small", classes=CLASSES).float()
    arguments = {"depth": 3, "width": 8, "gate": "small", "classes": CLASSES}
    preprocessing = architecture_named("dynamic-small").preprocessing
    checkpoint = tmp_path_factory.mktemp("routed")
    save_checkpoint(checkpoint, network, CheckpointConfig("dynamic-small", preprocessing, arguments))
    routed = export_deployment(checkpoint, folder, "routed", routing=Routing("if"))
    # Figures of no measurement: 0.4, 0.2 and 0.1 GFLOPs, 10, 5 and 2.5 ms.
    settings = [
        Setting(
            threshold,
            BudgetCost(0.4 / 2**i, 0.4 / 2**i),
            BudgetCost(0.2, 0.2),
            BudgetCost(10.0 / 2**i, 10.0 / 2**i),
            1.0,
            1,
        )
        for i, threshold in enumerate(THRESHOLDS)
    ]
    table = BudgetTable(routed.info.checkpoint.sha256, 12, (128, 160), {}, tuple(settings))
    record_results(routed, budget=table)


@pytest.fixture(scope="session")
def server(repository: Path, operators: OperatorForm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of all four models, on which clients may do everything."""
    options = ("--shared-memory", "--model-control", "--operators", operators.value)
    with running(tmp_path_factory.mktemp("server"), repository, *options) as started:
        yield started


@pytest.fixture(scope="session")
def photographs(images: Path) -> np.ndarray:
    """Twelve images, uint8 [12,32,32,3]."""
    with np.load(images) as archive:
        return archive["images"]


@pytest.fixture(scope="session")
def hasty_server(
    repository: Path, operators: OperatorForm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that gives clients 3 seconds, where others give them long."""
    options = ("--receive-seconds", 3, "--operators", operators.value)
    with running(tmp_path_factory.mktemp("hasty"), repository, *options) as started:
        yield started


@pytest.fixture
def photograph(photographs: np.ndarray, tmp_path: Path) -> Path:
    """A PNG file of 32 x 32 pixels."""
    Image.fromarray(photographs[0]).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


@pytest.fixture(scope="session")
def expected(repository: Path, images: Path, operators: Any, adroit: Adroit, tmp_path_factory: Any) -> Any:
    """Return a function from model, batch and threshold to the outputs of `adroit run`."""
    folder = tmp_path_factory.mktemp("run")
    results: dict[tuple[str, int, float], dict[str, np.ndarray]] = {}

    def run(model: str, batch: int, threshold: float = 0.0) -> dict[str, np.ndarray]:
        if (model, batch, threshold) not in results:
            output = folder / f"{model}-{batch}-{threshold}.npz"
            images_of = routed_images(folder, images) if model == "routed" else images
            result = adroit(
                "run", repository / model, "--data", images_of, "-o", output, "--batch", batch, "--threads", 1,
                "--operators", operators.value, "--gate-threshold", threshold,
            )  # fmt: skip
            assert result.code == 0, result.err
            with np.load(output) as archive:
                results[model, batch, threshold] = {name: archive[name] for name in archive.files if name != "names"}
        return results[model, batch, threshold]

    return run
