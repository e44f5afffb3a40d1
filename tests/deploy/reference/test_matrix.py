"""Every network of the matrix: its stored reference computes what the network computes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adroit.deploy.reference.interpret import StoredProgram
from tests.user_networks.cases import CASES, Case

Captured = Callable[[str], tuple[nn.Module, StoredProgram]]
each_network = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
RUNS = [(batch, size) for size in (0, 1) for batch in (1, 3)]


def outputs(network: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
    """The network's own outputs in order, without the fused attention that PyTorch takes in evaluation."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            leaves: list[Any] = torch.utils._pytree.tree_leaves(network(*inputs))
            return leaves
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@each_network
def test_the_reference_computes_what_the_network_computes(case: Case, captured: Captured) -> None:
    network, program = captured(case.name)
    for batch, size in RUNS:
        inputs = case.tensors(batch, size, seed=1)
        check_float32_bit_for_bit(network, program, inputs)
    check_nothing_is_changed(program, case.tensors(2, 0, seed=2))
    network, program = deepcopy(network).double(), deepcopy(program).double()
    for batch, size in RUNS:
        check_float64(case, network, program, case.tensors(batch, size, seed=1))


def check_float32_bit_for_bit(network: nn.Module, program: StoredProgram, inputs: list[Tensor]) -> None:
    for (name, result), value in zip(program(*inputs).items(), outputs(network, inputs), strict=True):
        assert result.dtype == value.dtype, name
        assert torch.equal(result, value), name


def check_nothing_is_changed(program: StoredProgram, inputs: list[Tensor]) -> None:
    copies = [x.clone() for x in inputs]
    before = {name: tensor.clone() for name, tensor in program.state_dict().items()}
    first, again = program(*inputs), program(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(inputs, copies, strict=True))
    assert all(torch.equal(before[name], tensor) for name, tensor in program.state_dict().items())
    assert all(torch.equal(first[name], again[name]) for name in first)


def check_float64(case: Case, network: nn.Module, program: StoredProgram, inputs: list[Tensor]) -> None:
    """`network` is in float64 but for what it computes in PyTorch's default type (see test_double.py)."""
    types = set()

    def observe(node: Any, result: Any) -> None:
        if isinstance(result, Tensor) and result.is_floating_point():
            types.add(result.dtype)

    results = program(*inputs, observe=observe)
    assert types == {torch.float64}
    if not case.default_type:
        for (name, result), value in zip(results.items(), outputs(network, [x.double() for x in inputs]), strict=True):
            assert torch.equal(result, value), name


def test_outputs_have_the_networks_names(captured: Captured) -> None:
    names = {case.name: captured(case.name)[1].program.outputs for case in CASES}
    assert names["mobilenet_v3"] == ["output0"]
    assert names["two_eyes"] == ["output0", "output1"]
    assert names["feature_pyramid"] == ["p3", "p4", "p5"]
    assert names["image_and_state"] == ["action", "value"]


def test_nodes_know_module_and_source_line(captured: Captured) -> None:
    _, program = captured("mobilenet_v3")
    nodes = program.program.graphs[0].nodes
    excited = [node for node in nodes if node.op == "aten.hardsigmoid.default"]
    assert [node.module for node in excited] == [f"blocks.{i}.block.6" for i in range(3)]
    assert all(node.source.startswith("convolutional.py:") for node in nodes if node.op.startswith("aten.conv"))
