"""A deployment is profiled at the threshold that holds it to a budget, beside others that run as they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.writer import write_description
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.deploy.runtimes.options import RuntimeOptions
from tests.conftest import Adroit
from tests.deploy.routing.budget.test_table import TABLE


@pytest.fixture
def held(routed_deployment: Deployment, tmp_path: Path) -> Path:
    """The `if` form with a budget table."""
    path = shutil.copytree(routed_deployment.path, tmp_path / "held")
    table = msgspec.structs.replace(TABLE, checkpoint=routed_deployment.info.checkpoint.sha256)
    write_description(path, msgspec.structs.replace(routed_deployment.info, budget=table))
    return path


def test_a_budget_is_kept_beside_a_static_network(
    held: Path, checkpoint: Path, options: RuntimeOptions, tmp_path: Path, adroit: Adroit
) -> None:
    static = export_deployment(checkpoint, tmp_path, "open", routing=Routing("static")).path
    forms = ["--operators", options.operators, "--threads", 1, "--seconds", 0.1, "--json"]
    done = adroit("profile", static, held, "--gflops", 0.3, *forms)
    assert done.code == 0, done.err
    whole, routed = json.loads(done.out)["candidates"]
    assert (whole["gate_threshold"], routed["gate_threshold"]) == (0.0, 0.3)
    assert routed["title"].endswith(" at 0.3") and not whole["title"].endswith(" at 0")
    plain = json.loads(adroit("profile", held, "--gate-threshold", 0.3, *forms).out)["candidates"][0]
    assert routed["operations"] == plain["operations"] != whole["operations"]


def test_a_budget_that_cannot_be_kept_is_one_error(held: Path, routed_deployment: Deployment, adroit: Adroit) -> None:
    both = adroit("profile", held, "--gflops", 0.3, "--gate-threshold", 0.1)
    assert both.code == 2 and "leave --gate-threshold or --gflops out" in both.err
    least = adroit("profile", held, "--gflops", 0.1)
    assert least.code == 2 and "no threshold keeps a budget of 0.1 GFLOPs" in least.err
    bare = adroit("profile", routed_deployment.path, "--gflops", 0.3)
    assert bare.code == 2 and "has no budget table" in bare.err
