"""Mutated ONNX files, inspected and run in a process of their own: refused or run, never a crash or a hang."""

from __future__ import annotations

import json
import os
import signal
import traceback
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.errors import AdroitError
from tests.fuzz.mutations import LIMIT, hostile, mutated_bytes

pytestmark = pytest.mark.timeout(LIMIT)
# Inputs that one process takes: a crash of the runtime is then known to be of one of so many.
TOGETHER = 10


def _models(deployment: Deployment) -> list[bytes]:
    text = """<ir_version: 9, opset_import: ["" : 18]> net (float[N,3,8,8] image) => (float[N,4] y)
        { c = Conv(image, w) r = Relu(c) p = GlobalAveragePool(r) y = Flatten(p) }"""
    small = onnx.parser.parse_model(text)
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    small.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return [small.SerializeToString(), deployment.model_file.read_bytes()]


def _looked_at(path: Path) -> None:
    """What the commands `inspect` and `run` do with a bare file."""
    import adroit

    try:
        adroit.inspect(path)
        deployment = Deployment.read_any(path)
        with adroit.open(deployment, threads=1) as net:
            net.run(deployment.noise(1))
    except (AdroitError, MemoryError):
        pass


def _outcome(contents: list[bytes], folder: Path) -> str:
    """Empty, or what came out of a child that took these contents one after the other."""
    report = folder / "report.txt"
    report.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        signal.alarm(300)
        try:
            for index, content in enumerate(contents):
                report.write_text(str(index))
                path = folder / "model.onnx"
                path.write_bytes(content)
                _looked_at(path)
            os._exit(0)
        except BaseException:
            report.write_text(traceback.format_exc())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return "" if status == 0 else f"status {status}: {report.read_text()}"


def test_models(resnet_deployment: Deployment, tmp_path: Path) -> None:
    """A model from anywhere may be cut, damaged or crafted; ONNX Runtime reads it, in our process."""
    pending: list[bytes] = []
    found = []
    for content in hostile(_models(resnet_deployment), mutated_bytes, 60):
        pending.append(content)
        if len(pending) == TOGETHER:
            outcome = _outcome(pending, tmp_path)
            if outcome:
                found.append(outcome)
                (tmp_path / f"found-{len(found)}.json").write_text(json.dumps([c.hex() for c in pending]))
            pending = []
    assert found == []
