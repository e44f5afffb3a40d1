"""The checks on a GPU, rehearsed without one: float32 on the CPU is within their limits, a wrong result is not."""

from __future__ import annotations

import pytest
import torch

from adroit.models.operators.adaptive_filter import adaptive_filter
from adroit.models.operators.adder_conv2d import adder_conv2d
from adroit.models.operators.routing_gate import routing_gate
from tests.gpu import cases, references
from tests.gpu.references import Reference


def _expect(reference: Reference, output: torch.Tensor) -> None:
    assert reference.used(output) <= 1.0
    wrong = output.clone().float()
    wrong.view(-1)[wrong.numel() // 2] += 0.01 * float(reference.value.abs().max()) + 0.01
    assert reference.used(wrong) > 1.0
    wrong.view(-1)[0] = float("nan")
    assert reference.used(wrong) == float("inf")


@pytest.mark.parametrize("case", cases.ADDER, ids=str)
def test_adder_reference(case: cases.Adder) -> None:
    inputs = case.inputs(torch.float32, "cpu")
    total = adder_conv2d(inputs.x, inputs.w, case.stride, case.padding)
    output = inputs.scale[:, None, None] * total + inputs.shift[:, None, None]
    output = output if inputs.residual is None else output + inputs.residual
    _expect(inputs.reference(torch.float32), output.relu() if case.relu else output)


@pytest.mark.parametrize("case", cases.FILTER, ids=str)
def test_filter_reference(case: cases.Filter) -> None:
    x, logits = case.inputs(torch.float32, "cpu")
    arguments = (case.kernel_size, case.stride, case.groups, case.joint)
    reference = references.filter_reference(x, logits, *arguments, torch.float32)
    _expect(reference, adaptive_filter(x, logits, *arguments))


@pytest.mark.parametrize("case", cases.GATE, ids=str)
def test_gate_reference(case: cases.Gate) -> None:
    tensors, threshold = case.inputs(torch.float32, "cpu")
    reference = references.gate_reference(*tensors, case.shrink)
    gates, is_open = routing_gate(*tensors, threshold, case.shrink)
    assert references.gates_are_right(reference, threshold, gates, is_open)
    assert not references.gates_are_right(reference, threshold, gates + 0.01, is_open)
    assert not references.gates_are_right(reference, threshold, gates, ~is_open)


@pytest.mark.parametrize("case", cases.DECISION[:2], ids=str)
def test_decisions_differ(case: cases.Decision) -> None:
    """Numbers that were all alike would prove nothing."""
    for output in references.decision_reference(*case.inputs("cpu")):
        assert output.min() < output.max()


def test_bytes_are_summed_exactly() -> None:
    case = cases.ADDER[0]
    x, w, scale, shift = case.bytes_of(torch.int8, "cpu")
    reference = references.quantized_reference(x, w, scale, shift, case.stride, case.padding, -3)
    padded = torch.nn.functional.pad(x.float(), [case.padding] * 4, value=-3.0)
    total = adder_conv2d(padded, w.float(), case.stride, 0)
    _expect(reference, scale[:, None, None] * total + shift[:, None, None])
