"""What a network's stored reference is held to: it computes what the network computes."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from adroit.deploy.reference.interpret import StoredProgram
from tests.user_networks.cases import Case

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


def check_reference(case: Case, network: nn.Module, program: StoredProgram) -> None:
    """In float32 bit for bit, in float64 too, and without changing its inputs or weights."""
    for batch, size in RUNS:
        inputs = case.tensors(batch, size, seed=1)
        check_float32_bit_for_bit(network, program, inputs)
    check_nothing_is_changed(program, case.tensors(2, 0, seed=2))
    network, program = deepcopy(network).double(), deepcopy(program).double()
    for module in network.modules():
        if isinstance(module, nn.RMSNorm) and module.eps is None:  # that of its type: the deployed one's
            module.eps = torch.finfo(torch.float32).eps
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
