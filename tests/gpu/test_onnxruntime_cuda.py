"""ONNX Runtime's CUDA provider with our kernels, against its CPU provider with ours.

Without a GPU the adapters run over the emulated device, registered for the CPU provider, as a rehearsal.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gpu import build

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime-gpu is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
from tests.gpu.onnx_nodes import NODES, WITHOUT_CUDA, Node, standard_model  # noqa: E402

NO_GPU = build.reason_against()
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
pytestmark = pytest.mark.timeout(900)
needs_gpu = pytest.mark.skipif(NO_GPU is not None, reason=f"needs a GPU and nvcc: {NO_GPU}")
BY_NAME = pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)


def reason_against_provider() -> str | None:
    """Why ONNX Runtime cannot use a GPU here, whatever our library does, or None."""
    if CUDA not in onnxruntime.get_available_providers():
        return f"the installed onnxruntime has no {CUDA}: onnxruntime-gpu has it"
    onnxruntime.preload_dlls()  # CUDA and cuDNN of the packages that PyTorch brings
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    opened = onnxruntime.InferenceSession(standard_model().SerializeToString(), options, providers=[CUDA])
    return None if CUDA in opened.get_providers() else f"{CUDA} does not start here: its CUDA or cuDNN is missing"


@pytest.fixture(scope="module")
def library() -> Path:
    """The one with CUDA kernels for this machine's GPU, or the emulated one."""
    reason = None if NO_GPU else reason_against_provider()
    if reason:
        pytest.skip(reason)
    try:
        return build.emulated_onnxruntime_library() if NO_GPU else build.onnxruntime_library("native")
    except build.NotHere as why:
        pytest.skip(str(why))


def installed_library() -> Path:
    """The one that adroit was installed with; skips where there is none."""
    from adroit.deploy.runtimes.native import native_library
    from adroit.errors import EnvironmentFault

    try:
        return native_library()
    except EnvironmentFault as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def cpu_library(library: Path) -> Path:
    """The one with the CPU's kernels: on a GPU the same."""
    return installed_library() if NO_GPU else library


def session(node: Node, library: Path, providers: Sequence[str]) -> Any:
    """`providers`: CUDA alone means that nothing may run elsewhere."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.register_custom_ops_library(str(library))
    if list(providers) == [CUDA]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    opened = onnxruntime.InferenceSession(node.model().SerializeToString(), options, providers=list(providers))
    assert opened.get_providers()[0] == providers[0], f"{providers[0]} did not start"  # else it falls back in silence
    return opened


def run(opened: Any, node: Node) -> list[np.ndarray]:
    name = opened.get_inputs()[0].name
    return list(opened.run(None, {name: node.inputs[name]}))


def require_equal(node: Node, outputs: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(outputs, expected, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        if node.exact or one.dtype == bool:
            np.testing.assert_array_equal(one, other)
        else:  # sums in another order: some roundings of the largest
            np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * float(np.abs(other).max()))


@BY_NAME
def test_a_node_gives_what_the_cpu_gives(node: Node, library: Path, cpu_library: Path) -> None:
    expected = run(session(node, cpu_library, [CPU]), node)
    assert all(np.unique(output).size > 1 for output in expected), "a case that shows nothing"
    opened = session(node, library, [CPU if NO_GPU else CUDA])
    outputs = run(opened, node)
    require_equal(node, outputs, expected)
    for again, first in zip(run(opened, node), outputs, strict=True):
        np.testing.assert_array_equal(again, first)


@BY_NAME
def test_an_input_that_does_not_fit_is_refused(node: Node, library: Path) -> None:
    opened = session(node, library, [CPU if NO_GPU else CUDA])
    name = opened.get_inputs()[0].name
    batch, channels, *rest = node.inputs[name].shape
    wrong = np.zeros((batch, channels + 1, *rest), node.inputs[name].dtype)
    with pytest.raises(Exception, match=f"{node.operator}: X has {channels + 1} channels"):
        opened.run(None, {name: wrong})


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this is onnxruntime-gpu")
def test_an_onnxruntime_without_cuda_is_a_reason_to_skip() -> None:
    assert reason_against_provider() == f"the installed onnxruntime has no {CUDA}: onnxruntime-gpu has it"


@needs_gpu
def test_an_operator_without_a_cuda_kernel_runs_on_the_cpu(library: Path) -> None:
    expected = run(session(WITHOUT_CUDA, library, [CPU]), WITHOUT_CUDA)
    require_equal(WITHOUT_CUDA, run(session(WITHOUT_CUDA, library, [CUDA, CPU]), WITHOUT_CUDA), expected)


@needs_gpu
@pytest.mark.parametrize("name", ["RoutingGate, shrink 1", "AdderConv2d"])
def test_calls_at_once_do_not_disturb_each_other(name: str, library: Path) -> None:
    """Each runs on a stream of its own; the gate's workspace must be its own too."""
    node = next(node for node in NODES if node.name == name)
    opened = session(node, library, [CUDA])
    first, x = opened.get_inputs()[0].name, node.inputs[opened.get_inputs()[0].name]
    inputs = [x * np.float32(1 + i / 8) for i in range(8)]
    expected = [opened.run(None, {first: value}) for value in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(25):
            outputs = pool.map(lambda value: opened.run(None, {first: value}), inputs)
            for one, other in zip(outputs, expected, strict=True):
                for a, b in zip(one, other, strict=True):
                    np.testing.assert_array_equal(a, b)
