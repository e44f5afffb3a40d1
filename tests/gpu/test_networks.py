"""Whole networks in ONNX Runtime's CUDA provider, with our kernels, against float64 PyTorch.

Without a GPU they run in the CPU provider, as a rehearsal.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime-gpu is not installed")
from tests.gpu import build, networks  # noqa: E402
from tests.gpu.test_onnxruntime_cuda import CPU, CUDA, NO_GPU, installed_library, reason_against_provider  # noqa: E402

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def library() -> Path:
    """The one with CUDA kernels for this machine's GPU; without a GPU the installed one."""
    reason = None if NO_GPU else reason_against_provider()
    if reason:
        pytest.skip(reason)
    if not NO_GPU:
        try:
            return build.onnxruntime_library("native")
        except build.NotHere as why:
            pytest.skip(str(why))
    return installed_library()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The carried networks, or where adroit can export a place to make them."""
    if networks.FOLDER.is_dir():
        return networks.FOLDER
    if importlib.util.find_spec("onnxscript") is None:
        pytest.skip("no build/gpu-networks: make it where adroit is installed (python -m tests.gpu.networks)")
    return tmp_path_factory.mktemp("networks")


@pytest.mark.parametrize("name", networks.NAMES)
def test_a_whole_network_stays_within_the_rounding_of_its_arithmetic(name: str, folder: Path, library: Path) -> None:
    if not (folder / f"{name}.onnx").is_file():
        networks.make(name, folder)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library))
    provider = CPU if NO_GPU else CUDA
    # cuDNN may round float32 products to TF32 otherwise.
    providers = [(CUDA, {"use_tf32": "0"}), CPU] if provider == CUDA else [CPU]
    session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, providers=providers)
    assert session.get_providers()[0] == provider, f"{provider} did not start"
    known = np.load(folder / f"{name}.npz")
    logits = session.run(None, {wanted.name: known[wanted.name] for wanted in session.get_inputs()})[0]
    used = np.abs(logits - known["reference"]) / known["limit"]
    print(f"{name} on {provider}: {used.max():.3f} of the limit used")
    assert np.ptp(known["reference"]) > 0.1, "a network that shows nothing"
    assert used.max() <= 1
