"""A node of the routed network: what its gates open, what passes, and the two kinds of gates."""

from __future__ import annotations

import math

import pytest
import torch

from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.networks.dynamic_routing.node import RoutedNode
from tests.models.networks.routed import CLOSE, GATES, images, routed_network, run

THRESHOLD = torch.zeros(1, dtype=torch.float64)
ALL = ("keep", "up", "down")


def node_under_test(kinds: tuple[str, ...] = ("keep", "up", "down")) -> RoutedNode:
    torch.manual_seed(0)
    node = RoutedNode(8, kinds, 1, "normal", 0.0).double()
    node.initialize()
    return node.eval()


def with_gate_biases(node: RoutedNode, biases: list[float]) -> RoutedNode:
    weight, bias = node.gate_conv_beta.last()
    with torch.no_grad():
        weight.zero_()
        bias.copy_(torch.tensor(biases, dtype=torch.float64))
    return node


def test_a_closed_node_passes_its_input_without_relu() -> None:
    node = with_gate_biases(node_under_test(), [-1.0, -1.0, -1.0])
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    assert bool((x < 0).any())
    result = node(x, True, THRESHOLD, ALL)
    torch.testing.assert_close(result.sent["keep"], x, rtol=0, atol=0)
    assert not result.opened.any() and not result.gates.any()
    assert not result.sent["up"].any() and not result.sent["down"].any()


def test_a_partly_closed_node_keeps_zeros_not_its_input() -> None:
    node = with_gate_biases(node_under_test(), [-1.0, 0.5, 0.3])
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    result = node(x, True, THRESHOLD, ALL)
    assert result.opened.all() and not result.sent["keep"].any()
    h = node.cell_ops(x)
    torch.testing.assert_close(result.sent["up"], math.tanh(0.5) * node.res_up(h), **CLOSE)
    torch.testing.assert_close(result.sent["down"], math.tanh(0.3) * node.res_down(h), **CLOSE)


def test_an_open_keep_path_delivers_the_rectified_cell_times_its_gate() -> None:
    node = with_gate_biases(node_under_test(), [0.5, -1.0, -1.0])
    x = torch.randn(1, 8, 6, 6, dtype=torch.float64)
    sep = x
    for module in node.cell_ops._ops[0].op:
        sep = module(sep)
    expected = math.tanh(0.5) * (sep + x).relu()
    torch.testing.assert_close(node(x, True, THRESHOLD, ALL).sent["keep"], expected, **CLOSE)


@pytest.mark.parametrize(("total", "is_open"), [(0.99e-4, False), (1.01e-4, True)])
def test_a_node_closes_where_its_gates_sum_to_less_than_a_ten_thousandth(total: float, is_open: bool) -> None:
    node = with_gate_biases(node_under_test(), [total / 3] * 3)
    x = torch.randn(1, 8, 6, 6, dtype=torch.float64)
    result = node(x, True, THRESHOLD, ALL)
    assert bool(result.opened.all()) == is_open
    assert torch.equal(result.sent["keep"], x) == (not is_open)


def test_a_sample_that_nothing_reaches_stays_zero() -> None:
    node = with_gate_biases(node_under_test(), [1.0, 1.0, 1.0])
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    x[1] = 0.0
    result = node(x, torch.tensor([True, False]).view(2, 1, 1, 1), THRESHOLD, ALL)
    assert all(sent[0].any() and not sent[1].any() for sent in result.sent.values())


def test_small_gates_see_their_input_shrunk() -> None:
    normal, small = routed_network(3, 8, "normal"), DynamicRouting(3, 8, 5, "small").double().eval()
    small.load_state_dict(normal.state_dict())
    x = images(4, seed=5)
    gates, small_gates = run(normal, x)[1], run(small, x)[1]
    assert gates.shape == small_gates.shape and float((gates - small_gates).abs().max()) > 1e-3
    # On a map that is constant in every 4 x 4 block the shrink changes nothing.
    node, shrunk = normal.backbone.init_layer.gate_conv_beta, small.backbone.init_layer.gate_conv_beta
    blocks = torch.randn(2, 8, 5, 6, dtype=torch.float64).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(node(blocks, THRESHOLD), shrunk(blocks, THRESHOLD), **CLOSE)


@GATES
def test_evaluation_gates_are_the_training_modules(gate: str) -> None:
    """The operator with its folded batch norm against conv, batch norm, pooling and conv."""
    network = routed_network(3, 8, gate)
    module = network.backbone.init_layer.gate_conv_beta
    x = torch.randn(3, 8, 18, 22, dtype=torch.float64)
    by_operator = module(x, THRESHOLD)
    module.training = True  # only the choice of form: the batch norm inside stays in evaluation
    torch.testing.assert_close(module(x, THRESHOLD), by_operator, **CLOSE)
