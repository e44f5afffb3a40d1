"""The routed network: layout, semantics of gates and routes, independence of batch mates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from models.architectures import build_network
from models.errors import UnsupportedModel, UsageError
from models.networks.dynamic_routing.forcing import force_gates
from models.networks.dynamic_routing.network import DynamicRouting
from models.networks.dynamic_routing.node import RoutedNode
from models.networks.dynamic_routing.parameter_groups import parameter_groups
from models.routing.route import Route
from models.routing.space import INIT, Node, Path, RoutingSpace
from tests.networks.official_inference import official_inference
from tests.networks.routed import SIZE, images, mixed_route, routed_network

GATES = pytest.mark.parametrize("gate", ["normal", "small"])
# Another order of additions in float64. A path that is wrongly open or closed changes far more.
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def run(network: DynamicRouting, x: torch.Tensor, **more: object) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        result = network(x, with_gates=True, **more)
    assert isinstance(result, tuple)
    return result


def routes_of(network: DynamicRouting, gates: torch.Tensor) -> list[Route]:
    return [Route.from_gates(network.space, sample.numpy()) for sample in gates]


# ---- layout ----


@pytest.mark.parametrize(
    ("depth", "gate", "parameters", "backbone_keys"),
    [
        (16, "normal", 17_784_968, 1906),
        (16, "small", 17_784_968, 1906),
        (33, "normal", 38_871_666, 4014),
        (16, "none", 15_261_843, 1472),
        (33, "none", 33_353_107, 3104),
    ],
)
def test_sizes_are_the_published_ones(depth: int, gate: str, parameters: int, backbone_keys: int) -> None:
    with torch.device("meta"):
        network = DynamicRouting(depth, 64, 19, gate)  # type: ignore[arg-type]
    keys = list(network.state_dict())
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(key.startswith("backbone.") for key in keys) == backbone_keys
    assert sum(key.startswith("sem_seg_head.") for key in keys) == 26
    assert len(keys) == backbone_keys + 26


def test_tensors_have_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in DynamicRouting(16, 64, 19, "normal").state_dict().items()}
    cell = "backbone.all_cell_list.5.2"
    expected = {
        "backbone.stem.stem_1.weight": (64, 3, 3, 3),
        "backbone.stem.stem_1.norm.num_batches_tracked": (),
        "backbone.stem.stem_3.0.weight": (64, 1, 3, 3),
        "backbone.stem.stem_3.1.norm.running_var": (64,),
        f"{cell}.cell_ops._ops.0.op.2.weight": (256, 1, 3, 3),
        f"{cell}.cell_ops._ops.0.op.3.weight": (256, 256, 1, 1),
        f"{cell}.cell_ops._ops.0.op.3.norm.bias": (256,),
        f"{cell}.res_up.1.weight": (128, 256, 1, 1),
        f"{cell}.res_down.1.norm.weight": (512,),
        f"{cell}.gate_conv_beta.0.weight": (128, 256, 1, 1),
        f"{cell}.gate_conv_beta.2.weight": (3, 128, 1, 1),
        f"{cell}.gate_conv_beta.2.bias": (3,),
        "backbone.all_cell_list.15.3.gate_conv_beta.2.bias": (1,),
        "backbone.init_layer.res_down.1.weight": (128, 64, 1, 1),
        "sem_seg_head.layer_decoder_list.3.weight": (256, 512, 1, 1),
        "sem_seg_head.predictor.weight": (19, 64, 3, 3),
        "sem_seg_head.predictor.bias": (19,),
    }
    assert {k: shapes.get(k) for k in expected} == expected
    absent = ["init_layer.res_up", "all_cell_list.15.1.res_", "all_cell_list.5.0.res_up", "all_cell_list.5.3.res_down"]
    assert not [key for key in shapes for part in absent if part in key]


def test_the_stem_is_not_padded_and_gives_a_quarter() -> None:
    network = routed_network()
    x = images(1)
    assert network.backbone.stem.stem_1(x).shape[2:] == (SIZE[0] // 2 - 1, SIZE[1] // 2 - 1)
    assert network.backbone.stem(x).shape[2:] == (SIZE[0] // 4, SIZE[1] // 4)


def test_initialisation_is_the_official_one() -> None:
    torch.manual_seed(0)
    network = DynamicRouting(4, 32, 5, "normal")
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            if module.weight.numel() > 2000:
                assert float(module.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.1), name
            if module.bias is not None:
                assert bool((module.bias == (1.5 if "gate_conv_beta" in name else 0.0)).all()), name
    _, gates = run(network.train(), images(4).float())
    assert float(gates.mean()) > 0.7, "training starts with nearly all paths open"


# ---- semantics of gates ----


@GATES
@pytest.mark.parametrize(("depth", "lean"), [(3, 0.1), (4, -0.4), (6, -0.9), (8, 0.1)])
def test_each_sample_is_the_official_inference_at_batch_1(gate: str, depth: int, lean: float) -> None:
    network = routed_network(depth, 8, gate, lean=lean)
    x = images(6, seed=5)
    logits, gates = run(network, x)
    for n in range(len(x)):
        expected, expected_gates = official_inference(network.state_dict(), x[n : n + 1], depth, gate == "small")
        torch.testing.assert_close(logits[n : n + 1], expected, **CLOSE)
        torch.testing.assert_close(gates[n], torch.tensor(expected_gates, dtype=torch.float64), **CLOSE)


@GATES
@pytest.mark.parametrize("lean", [0.1, -0.6])
def test_results_do_not_depend_on_batch_mates(gate: str, lean: float) -> None:
    network = routed_network(6, 8, gate, lean=lean)
    x = images(6, seed=5)
    logits, gates = run(network, x)
    routes = routes_of(network, gates)
    assert len({route.open for route in routes}) > 1, "samples with one route would show nothing"
    for order in ([3], [5, 3], [3, 3, 0, 1]):
        mates, mates_gates = run(network, x[order])
        torch.testing.assert_close(mates[order.index(3)], logits[3], **CLOSE)
        torch.testing.assert_close(mates_gates[order.index(3)], gates[3], **CLOSE)


def test_the_networks_under_test_have_closed_partial_and_unreached_nodes() -> None:
    network = routed_network(6, 8, "normal", lean=-0.6)
    routes = routes_of(network, run(network, images(6, seed=5))[1])
    nodes = [(route, at) for route in routes for at in network.space.nodes]
    partial = [at for route, at in nodes if 0 < len(route.open_kinds(at)) < len(network.space.kinds(at))]
    assert partial and any(not route.is_live(at) for route, at in nodes)
    assert any(route.is_live(at) and not route.is_open(at) for route, at in nodes)


def node_under_test(kinds: tuple[str, ...] = ("keep", "up", "down")) -> RoutedNode:
    torch.manual_seed(0)
    node = RoutedNode(8, kinds, 1, "normal", 0.0).double()
    node.initialise()
    return node.eval()


def with_gate_biases(node: RoutedNode, biases: list[float]) -> RoutedNode:
    weight, bias = node.gate_conv_beta.last()
    with torch.no_grad():
        weight.zero_()
        bias.copy_(torch.tensor(biases, dtype=torch.float64))
    return node


THRESHOLD = torch.zeros(1, dtype=torch.float64)
ALL = ("keep", "up", "down")


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


def test_thresholds_close_gates_per_sample() -> None:
    network = routed_network(4, 8)
    x = images(1, seed=5).expand(3, -1, -1, -1).contiguous()
    thresholds = torch.tensor([0.0, 0.3, 1.0])
    logits, gates = run(network, x, gate_threshold=thresholds)
    assert int((gates[0] > 0).sum()) > int((gates[1] > 0).sum()) > int((gates[2] > 0).sum()) == 0
    for n, threshold in enumerate(thresholds):
        alone, _ = run(network, x[:1], gate_threshold=threshold[None])
        torch.testing.assert_close(alone[0], logits[n], **CLOSE)


def test_with_everything_closed_the_head_sees_the_stem_and_zeros() -> None:
    network = routed_network(4, 8)
    x = images(2)
    stem = network.backbone.stem(x)
    zeros = [stem.new_zeros(2, 8 << i, stem.shape[2] >> i, stem.shape[3] >> i) for i in (1, 2, 3)]
    expected = network.sem_seg_head([stem, *zeros])
    by_threshold, gates = run(network, x, gate_threshold=torch.tensor([1.0]))
    assert not gates.any()
    by_route, _ = run(network, x, route=Route.none(network.space))
    torch.testing.assert_close(by_threshold, expected, **CLOSE)
    torch.testing.assert_close(by_route, expected, **CLOSE)


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


# ---- routes ----


@GATES
@pytest.mark.parametrize("seed", range(3))
def test_a_forced_route_equals_gates_that_take_it(gate: str, seed: int) -> None:
    """Gates that take a route by themselves, the same gates under that route, and the oracle."""
    network = routed_network(5, 8, gate)
    route = mixed_route(network, seed)
    force_gates(network, route)
    x = images(2, seed=9)
    free, gates = run(network, x)
    forced, forced_gates = run(network, x, route=route)
    assert routes_of(network, gates) == [route, route]
    torch.testing.assert_close(forced, free, **CLOSE)
    torch.testing.assert_close(forced_gates, gates, **CLOSE)
    expected, _ = official_inference(network.state_dict(), x[:1], 5, gate == "small")
    torch.testing.assert_close(free[:1], expected, **CLOSE)


@pytest.mark.parametrize("seed", range(3))
def test_a_forced_route_is_the_masked_network_with_those_gates_closed(seed: int) -> None:
    network = routed_network(5, 8)
    route = mixed_route(network, seed)
    x = images(4, seed=5)
    forced, forced_gates = run(network, x, route=route)
    masked = routed_network(5, 8)
    for at in masked.space.nodes:  # a closed path's gate can never open, the others stay as they are
        weight, bias = masked.backbone.node(at).gate_conv_beta.last()
        closed = ~torch.tensor(route.open[masked.space.gates(at)])
        with torch.no_grad():
            weight[closed], bias[closed] = 0.0, -1.0
    expected, expected_gates = run(masked, x)
    torch.testing.assert_close(forced, expected, **CLOSE)
    torch.testing.assert_close(forced_gates, expected_gates, **CLOSE)


def test_a_route_computes_only_what_it_reaches() -> None:
    network = routed_network(5, 8, "none")
    route = mixed_route(network, 1, share=0.4)
    computed: list[str] = []
    for name, module in network.backbone.named_modules():
        if name.endswith(("cell_ops", "res_up", "res_down")):
            module.register_forward_hook(lambda *_, name=name: computed.append(name))
    run(network, images(1), route=route)
    expected = set()
    for at in network.space.nodes:
        module = "init_layer" if at == INIT else f"all_cell_list.{at.name}"
        if route.is_open(at):
            expected |= {f"{module}.cell_ops"} | {f"{module}.res_{k}" for k in route.open_kinds(at) if k != "keep"}
    assert len(computed) == len(set(computed)), "a module is called once per forward"
    assert set(computed) == expected and len(expected) < len(network.space.nodes)


def test_an_ungated_network_is_a_gated_one_with_gates_at_1() -> None:
    fixed = routed_network(4, 8, "none")
    route = mixed_route(fixed, 2)
    x = images(2)
    logits, gates = run(fixed, x, route=route)
    assert torch.equal(gates, torch.tensor(route.open, dtype=torch.float64).expand(2, -1))
    gated = DynamicRouting(4, 8, 5, "normal").double().eval()
    gated.load_state_dict(fixed.state_dict(), strict=False)
    force_gates(gated, route)
    for at in gated.space.nodes:
        _, bias = gated.backbone.node(at).gate_conv_beta.last()
        bias.data.mul_(20.0)  # tanh(40) is 1
    torch.testing.assert_close(run(gated, x)[0], logits, **CLOSE)


def test_ungated_weights_other_than_1_are_refused() -> None:
    network = DynamicRouting(3, 8, 5, "none")
    state = network.state_dict()
    state["backbone.init_layer.gate_weights_beta"] = torch.full((1, 2, 1, 1), 0.5)
    with pytest.raises(UnsupportedModel, match="gate_weights_beta"):
        network.load_state_dict(state)


# ---- sizes, training, refusals ----


@pytest.mark.parametrize("size", [(32, 64), (96, 160), (160, 224)])
def test_sizes_whose_maps_are_odd(size: tuple[int, int]) -> None:
    network = routed_network(4, 8)
    x = images(1, size)
    logits, _ = run(network, x)
    assert logits.shape == (1, 5, *size)
    torch.testing.assert_close(logits, official_inference(network.state_dict(), x, 4, False)[0], **CLOSE)


@pytest.mark.parametrize(
    ("gate", "size", "message"), [("normal", (64, 72), "64 x 72"), ("small", (96, 160), "at least 128")]
)
def test_impossible_sizes_are_refused(gate: str, size: tuple[int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DynamicRouting(3, 8, 5, gate).eval()(torch.zeros(1, 3, *size))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((2, 8, 5, "normal"), "at least 3"), ((3, 7, 5, "normal"), "even width"), ((3, 8, 5, "big"), "big")],
)
def test_impossible_networks_are_refused(arguments: tuple[int, int, int, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DynamicRouting(*arguments)  # type: ignore[arg-type]


def test_a_route_of_another_space_is_refused() -> None:
    with pytest.raises(UsageError, match="route"):
        routed_network(4, 8)(images(1), route=Route.all_open(RoutingSpace(5, 8)))


@GATES
def test_training_reaches_every_parameter(gate: str) -> None:
    torch.manual_seed(0)
    network = DynamicRouting(4, 8, 5, gate)  # type: ignore[arg-type]
    logits, gates = network(images(2).float(), with_gates=True)
    (logits.square().mean() + gates.mean()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_drop_path_follows_layer_and_progress() -> None:
    network = DynamicRouting(4, 8, 5, "normal", drop_path=0.4)
    network.set_progress(0.5)
    rates = {at: network.backbone.node(at).cell_ops.drop_path.rate for at in network.space.nodes}
    assert rates[INIT] == 0.0
    assert [rates[Node(layer, 0)] for layer in range(4)] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    drop = network.backbone.node(Node(3, 0)).cell_ops.drop_path
    torch.manual_seed(0)
    out = drop(torch.ones(2000, 1, 2, 2))
    assert sorted({round(float(v), 4) for v in out.flatten()}) == [0.0, 1.25]
    assert bool((out.flatten(1).min(1).values == out.flatten(1).max(1).values).all()), "whole samples drop"
    assert float(out.mean()) == pytest.approx(1.0, abs=0.05)
    x = torch.randn(2, 1, 2, 2)
    assert drop.eval()(x) is x


def test_parameter_groups_speed_gates_up_and_spare_norms() -> None:
    network = DynamicRouting(3, 8, 5, "normal")
    groups = parameter_groups(network, 0.02, 1e-4, 2.5)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(found) == sum(len(g["params"]) for g in groups) == len(list(network.parameters()))
    named = dict(network.named_parameters())
    for name, expected in {
        "backbone.stem.stem_1.weight": (0.02, 1e-4),
        "backbone.stem.stem_1.norm.bias": (0.02, 0.0),
        "backbone.init_layer.gate_conv_beta.2.bias": (0.05, 1e-4),
        "backbone.init_layer.gate_conv_beta.0.norm.weight": (0.05, 0.0),
        "sem_seg_head.predictor.bias": (0.02, 1e-4),
    }.items():
        assert found[id(named[name])] == pytest.approx(expected), name


@pytest.mark.parametrize("form", ["masked", "static"])
def test_the_network_exports_with_symbolic_batch_and_size(form: str) -> None:
    network = routed_network(4, 8, "small")
    route = mixed_route(network, 1) if form == "static" else None

    class Deployed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor, gate_threshold: torch.Tensor) -> torch.Tensor:
            return self.network(x, gate_threshold, route)

    x, threshold = images(2), torch.tensor([0.1])
    dim = torch.export.Dim
    shapes = ({0: dim("batch", min=1), 2: 32 * dim("rows", min=4), 3: 32 * dim("columns", min=4)}, {})
    program = torch.export.export(Deployed(), (x, threshold), dynamic_shapes=shapes)
    larger = images(3, (160, 192), seed=5)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(larger, threshold), network(larger, threshold, route), **CLOSE)
    gates = [node for node in program.graph.nodes if "routing_gate" in str(node.target)]
    open_nodes = network.space.nodes if route is None else [at for at in network.space.nodes if route.is_open(at)]
    assert len(gates) == len(open_nodes)


@pytest.mark.parametrize(
    ("name", "depth", "width", "gate"),
    [
        ("dynamic-a", 16, 64, "small"),
        ("dynamic-b", 16, 64, "small"),
        ("dynamic-c", 16, 64, "small"),
        ("dynamic-raw-16", 16, 64, "normal"),
        ("dynamic-raw-33", 33, 64, "normal"),
        ("dynamic-small", 4, 16, "small"),
    ],
)
def test_presets(name: str, depth: int, width: int, gate: str) -> None:
    with torch.device("meta"):
        network = build_network(name)
    assert isinstance(network, DynamicRouting)
    assert network.space == RoutingSpace(depth, width) and network.gate == gate


def test_the_order_of_gates_is_the_order_of_paths() -> None:
    network = routed_network(4, 8)
    paths = [Path(INIT, "keep"), Path(Node(1, 1), "up"), Path(INIT, "down"), Path(Node(0, 1), "keep")]
    force_gates(network, Route.of_paths(network.space, paths))
    gates = run(network, images(1))[1][0]
    found = [path for path, gate in zip(network.space.paths, gates, strict=True) if gate > 0]
    assert set(found) == set(paths)
    np.testing.assert_allclose(gates[gates > 0], math.tanh(2.0))
