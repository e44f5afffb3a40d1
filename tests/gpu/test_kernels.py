"""The CUDA kernels against the operators in float64.

On a GPU every call runs on a stream that is not the default one, once plainly and then from a captured CUDA
graph, which an allocation or a synchronization would fail. Without one the same checks run on the emulated device,
as a rehearsal. Outputs are filled with NaN before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from tests.gpu import build, kernels
from tests.operators import references
from tests.operators.cases import adaptive_filter, adder_conv2d, routing_decision, routing_gate

NO_GPU = build.reason_against()
DEVICE = "cpu" if NO_GPU else "cuda"
FLOATS = [torch.float32, torch.float16]
needs_gpu = pytest.mark.skipif(NO_GPU is not None, reason=f"needs a GPU and nvcc: {NO_GPU}")
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(autouse=True)
def own_stream() -> Iterator[None]:
    if not NO_GPU:
        with torch.cuda.stream(torch.cuda.Stream()):
            yield
        return
    try:
        kernels.use_library(build.emulated_library())
    except build.NotHere as why:
        pytest.skip(str(why))
    yield


def _in_both_ways(launch: Callable[[], None], outputs: list[Tensor], check: Callable[[], None]) -> None:
    launch()
    if NO_GPU:
        return check()
    torch.cuda.synchronize()
    check()
    first = [output.clone() for output in outputs]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        launch()
    for _ in range(3):
        for output in outputs:
            output.fill_(float("nan") if output.is_floating_point() else 1)
        graph.replay()
        torch.cuda.synchronize()
        # Bit by bit the same: the order of additions does not depend on timing.
        assert all(bool((a == b).all()) for a, b in zip(outputs, first, strict=True))


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.full(shape, float("nan"), dtype=dtype, device=DEVICE)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("case", adder_conv2d.DEVICE_CASES, ids=str)
def test_adder_conv2d(case: adder_conv2d.DeviceCase, dtype: torch.dtype) -> None:
    inputs = case.inputs(dtype, DEVICE)
    reference, y = inputs.reference(), _empty(case.output, dtype)

    def launch() -> None:
        tensors = (inputs.x, inputs.w, inputs.scale, inputs.shift, inputs.residual)
        kernels.adder_conv2d(*tensors, y, case.stride, case.padding, case.relu)

    _in_both_ways(launch, [y], lambda: _within(reference, y))


def _within(reference: references.Reference, y: Tensor) -> None:
    used = reference.used(y)
    assert used <= 1.0, f"{used} of the limit"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8], ids=str)
@pytest.mark.parametrize("case", adder_conv2d.DEVICE_CASES, ids=str)
def test_quantized_adder_conv2d(case: adder_conv2d.DeviceCase, dtype: torch.dtype) -> None:
    x, w, scale, shift = case.bytes_of(dtype, DEVICE)
    reference = adder_conv2d.bytes_reference(x, w, scale, shift, case.stride, case.padding, 3)
    y = _empty(case.output, torch.float32)

    def launch() -> None:
        kernels.quantized_adder_conv2d(x, w, scale, shift, y, case.stride, case.padding, 3)

    _in_both_ways(launch, [y], lambda: _within(reference, y))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("case", adaptive_filter.DEVICE_CASES, ids=str)
def test_adaptive_filter(case: adaptive_filter.DeviceCase, dtype: torch.dtype) -> None:
    x, logits = case.inputs(dtype, DEVICE)
    arguments = (case.kernel_size, case.stride, case.groups, case.joint)
    reference = adaptive_filter.device_reference(case, x, logits)
    y = _empty(tuple(reference.value.shape), dtype)
    _in_both_ways(lambda: kernels.adaptive_filter(x, logits, y, *arguments), [y], lambda: _within(reference, y))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("case", routing_gate.DEVICE_CASES, ids=str)
def test_routing_gate(case: routing_gate.DeviceCase, dtype: torch.dtype) -> None:
    tensors, threshold = case.inputs(dtype, DEVICE)
    reference = routing_gate.device_reference(case, tensors)
    gates = _empty((case.batch, case.paths), torch.float32)
    is_open = torch.ones(case.paths, dtype=torch.bool, device=DEVICE)
    workspace = kernels.routing_gate_workspace(tensors[0], tensors[3], case.shrink)

    def launch() -> None:
        kernels.routing_gate(*tensors, threshold, case.shrink, gates, is_open, workspace)

    def check() -> None:
        assert references.gates_are_right(reference, threshold.cpu().numpy(), gates, is_open)

    _in_both_ways(launch, [gates, is_open], check)


@pytest.mark.parametrize("case", routing_decision.DEVICE_CASES, ids=str)
def test_routing_decision(case: routing_decision.DeviceCase) -> None:
    inputs = case.inputs(DEVICE)
    expected = routing_decision.device_reference(inputs)
    outputs = [torch.full_like(t, float("nan") if t.is_floating_point() else 1) for t in expected]

    def check() -> None:
        assert all(torch.equal(output, right) for output, right in zip(outputs, expected, strict=True))

    _in_both_ways(lambda: kernels.routing_decision(inputs, outputs), outputs, check)


@needs_gpu
def test_ten_thousand_calls_take_no_memory() -> None:
    adder = adder_conv2d.DEVICE_CASES[0].inputs(torch.float32, DEVICE)
    x, logits = adaptive_filter.DEVICE_CASES[3].inputs(torch.float32, DEVICE)
    y, filtered = _empty(adder_conv2d.DEVICE_CASES[0].output, torch.float32), torch.empty_like(x)
    tensors, threshold = routing_gate.DEVICE_CASES[0].inputs(torch.float32, DEVICE)
    gates, is_open = _empty((1, 3), torch.float32), torch.ones(3, dtype=torch.bool, device=DEVICE)
    workspace = kernels.routing_gate_workspace(tensors[0], tensors[3], 1)
    layer = routing_decision.DEVICE_CASES[0].inputs(DEVICE)
    decided = [torch.empty_like(t) for t in routing_decision.device_reference(layer)]
    free = []
    for call in range(10_001):
        kernels.adder_conv2d(adder.x, adder.w, adder.scale, adder.shift, None, y, 1, 1)
        kernels.adaptive_filter(x, logits, filtered, 3, 1, 24, True)
        kernels.routing_gate(*tensors, threshold, 1, gates, is_open, workspace)
        kernels.routing_decision(layer, decided)
        if call % 10_000 == 0:
            torch.cuda.synchronize()
            free.append(torch.cuda.mem_get_info()[0])
    assert free[1] >= free[0]


def test_a_shape_that_does_not_fit_is_an_error() -> None:
    inputs = adder_conv2d.DEVICE_CASES[0].inputs(torch.float32, DEVICE)
    with pytest.raises(RuntimeError, match="CUDA error"):
        kernels.adder_conv2d(inputs.x, inputs.w, inputs.scale, inputs.shift, None, inputs.x, 0, 1)
