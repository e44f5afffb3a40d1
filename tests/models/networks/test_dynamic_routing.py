"""The routed network: layout, semantics of gates and routes, independence of batch mates."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adroit.errors import UsageError
from adroit.models.networks.architectures import build_network
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.networks.dynamic_routing.parameter_groups import parameter_groups
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, Node, RoutingSpace
from tests.models.networks.official_inference import official_inference
from tests.models.networks.routed import CLOSE, GATES, SIZE, images, mixed_route, routed_network, routes_of, run

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


def test_initialization_is_the_official_one() -> None:
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


def test_thresholds_close_gates_per_sample() -> None:
    network = routed_network(4, 8)
    x = images(1, seed=5).expand(3, -1, -1, -1).contiguous()
    thresholds = torch.tensor([0.0, 0.3, 1.0])
    logits, gates = run(network, x, gate_threshold=thresholds)
    assert int((gates[0] > 0).sum()) > int((gates[1] > 0).sum()) > int((gates[2] > 0).sum()) == 0
    for n, threshold in enumerate(thresholds):
        alone, _ = run(network, x[:1], gate_threshold=threshold[None])
        torch.testing.assert_close(alone[0], logits[n], **CLOSE)


def test_with_everything_closed_the_head_decodes_the_stem_alone() -> None:
    network = routed_network(4, 8)
    x = images(2)
    head = network.sem_seg_head
    expected = head.resize(head.predictor(head.layer_decoder_list[0](network.backbone.stem(x))))
    by_threshold, gates = run(network, x, gate_threshold=torch.tensor([1.0]))
    assert not gates.any()
    by_route, _ = run(network, x, route=Route.none(network.space))
    torch.testing.assert_close(by_threshold, expected, **CLOSE)
    torch.testing.assert_close(by_route, expected, **CLOSE)


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
    result = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(result) == sum(len(g["params"]) for g in groups) == len(list(network.parameters()))
    named = dict(network.named_parameters())
    for name, expected in {
        "backbone.stem.stem_1.weight": (0.02, 1e-4),
        "backbone.stem.stem_1.norm.bias": (0.02, 0.0),
        "backbone.init_layer.gate_conv_beta.2.bias": (0.05, 1e-4),
        "backbone.init_layer.gate_conv_beta.0.norm.weight": (0.05, 0.0),
        "sem_seg_head.predictor.bias": (0.02, 1e-4),
    }.items():
        assert result[id(named[name])] == pytest.approx(expected), name


@pytest.mark.parametrize("form", ["masked", "static"])
def test_the_network_exports_with_symbolic_batch_and_size(form: str) -> None:
    network = routed_network(3, 8, "small")
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
