"""The checks on a GPU, rehearsed without one: float32 on the CPU is within their limits, a wrong result is not."""

from __future__ import annotations

import pytest
import torch

from adroit.models.operators.adaptive_filter import adaptive_filter
from adroit.models.operators.adder_conv2d import adder_conv2d
from adroit.models.operators.routing_gate import routing_gate
from tests.operators import references
from tests.operators.cases import adaptive_filter as filter_cases
from tests.operators.cases import adder_conv2d as adder_cases
from tests.operators.cases import routing_decision as decision_cases
from tests.operators.cases import routing_gate as gate_cases
from tests.operators.references import Reference


def _expect(reference: Reference, output: torch.Tensor) -> None:
    assert reference.used(output) <= 1.0
    wrong = output.clone().float()
    wrong.view(-1)[wrong.numel() // 2] += 0.01 * float(abs(reference.value).max()) + 0.01
    assert reference.used(wrong) > 1.0
    wrong.view(-1)[0] = float("nan")
    assert reference.used(wrong) == float("inf")


@pytest.mark.parametrize("case", adder_cases.DEVICE_CASES, ids=str)
def test_adder_reference(case: adder_cases.DeviceCase) -> None:
    inputs = case.inputs(torch.float32, "cpu")
    total = adder_conv2d(inputs.x, inputs.w, case.stride, case.padding)
    output = inputs.scale[:, None, None] * total + inputs.shift[:, None, None]
    output = output if inputs.residual is None else output + inputs.residual
    _expect(inputs.reference(), output.relu() if case.relu else output)


@pytest.mark.parametrize("case", filter_cases.DEVICE_CASES, ids=str)
def test_filter_reference(case: filter_cases.DeviceCase) -> None:
    x, logits = case.inputs(torch.float32, "cpu")
    arguments = (case.kernel_size, case.stride, case.groups, case.joint)
    reference = filter_cases.device_reference(case, x, logits)
    _expect(reference, adaptive_filter(x, logits, *arguments))


@pytest.mark.parametrize("case", gate_cases.DEVICE_CASES, ids=str)
def test_gate_reference(case: gate_cases.DeviceCase) -> None:
    tensors, threshold = case.inputs(torch.float32, "cpu")
    reference = gate_cases.device_reference(case, tensors)
    gates, is_open = routing_gate(*tensors, threshold, case.shrink)
    assert references.gates_are_right(reference, threshold.numpy(), gates, is_open)
    assert not references.gates_are_right(reference, threshold.numpy(), gates + 0.01, is_open)
    assert not references.gates_are_right(reference, threshold.numpy(), gates, ~is_open)


@pytest.mark.parametrize("case", decision_cases.DEVICE_CASES[:2], ids=str)
def test_decisions_differ(case: decision_cases.DeviceCase) -> None:
    """Numbers that were all alike would prove nothing."""
    for output in decision_cases.device_reference(case.inputs("cpu")):
        assert output.min() < output.max()


def test_bytes_are_summed_exactly() -> None:
    case = adder_cases.DEVICE_CASES[0]
    x, w, scale, shift = case.bytes_of(torch.int8, "cpu")
    reference = adder_cases.bytes_reference(x, w, scale, shift, case.stride, case.padding, -3)
    padded = torch.nn.functional.pad(x.float(), [case.padding] * 4, value=-3.0)
    total = adder_conv2d(padded, w.float(), case.stride, 0)
    _expect(reference, scale[:, None, None] * total + shift[:, None, None])
