"""The programs for people to copy, run as they are."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.deploy.serve.photographs import enlarged
from tests.deploy.serve.server import Server

MISSING = """404 {"error":"there is no model 'other': the repository's index (/v2/repository/index) lists all"}"""


def example(name: str, server: Server, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "examples" / name, *map(str, arguments), "--server", f"http://{server.http}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_client_prints_labels(server: Server, photograph: Path) -> None:
    done = example("client.py", server, "adder-resnet20", photograph)
    _, body = server.post("/v2/models/adder-resnet20/predict", photograph.read_bytes())
    report = [f"{each['probability']:7.2%}  {each['label']}" for each in json.loads(body)["predictions"]]
    assert (done.returncode, done.stdout.splitlines()) == (0, report), done.stderr


def test_the_client_writes_a_map_within_a_budget(server: Server, photographs: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(enlarged(photographs[:1])[0]).save(tmp_path / "street.png")
    done = example(
        "client.py", server, "routed", tmp_path / "street.png", "--gflops", 0.2, "--map", tmp_path / "map.png"
    )
    assert done.returncode == 0, done.stderr
    assert "gate_threshold: 0.3" in done.stdout
    assert Image.open(tmp_path / "map.png").size == (160, 128)


def test_the_client_prints_why_the_server_refuses(server: Server, photograph: Path) -> None:
    done = example("client.py", server, "other", photograph)
    assert (done.returncode, done.stderr) == (1, f"error: {MISSING}\n")


@pytest.mark.parametrize("how", [("--rate", 40), ("--clients", 3)])
def test_the_load_is_reported(how: tuple[str, int], server: Server, photograph: Path) -> None:
    before = server.metric("adroit_requests_total")
    done = example("load.py", server, "adder-lenet5-bn", photograph, *how, "--seconds", 1)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["answered"] + report["failed"] == server.metric("adroit_requests_total") - before > 0
    assert report["milliseconds"]["p50"] <= report["milliseconds"]["p99"] <= report["milliseconds"]["maximum"]
    assert report["errors"] == {}


def test_errors_under_load_are_reported_by_kind(server: Server, photograph: Path) -> None:
    done = example("load.py", server, "other", photograph, "--rate", 20, "--seconds", 1, "--seed", 3)
    report = json.loads(done.stdout)
    assert (report["answered"], list(report["errors"])) == (0, [MISSING])


def test_arrivals_are_a_poisson_process_that_can_be_replayed() -> None:
    arrivals = runpy.run_path(str(ROOT / "examples" / "load.py"))["arrivals"]
    times = np.array(list(arrivals(50.0, 100.0, 7)))
    assert times.tolist() == list(arrivals(50.0, 100.0, 7)) != list(arrivals(50.0, 100.0, 8))
    gaps = np.diff(times)
    # Mean and standard deviation of an exponential distribution are equal; 5,000 draws estimate them to some percent.
    assert len(times) == pytest.approx(5000, rel=0.06)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.06)
