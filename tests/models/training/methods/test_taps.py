"""Feature maps read inside a network, and the network as it was afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.networks.architectures import build_network
from adroit.models.training.methods.attach_points import attach_points
from adroit.models.training.methods.taps import Taps, tapped_channels


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 5, 1)), nn.Flatten())


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_outputs_come_in_the_order_of_the_names_and_carry_gradients(network: nn.Sequential) -> None:
    x = torch.rand(2, 3, 6, 6)
    taps = Taps(network, ["1.1", "0"])
    expected = network(x)
    deep, shallow = taps.take()
    assert torch.equal(deep.flatten(1), expected) and torch.equal(shallow, network[0](x))
    shallow.sum().backward()
    assert network[0].weight.grad is not None and network[1][1].weight.grad is None


def test_nothing_is_kept_where_gradients_are_off(network: nn.Sequential) -> None:
    taps = Taps(network, ["0"])
    with torch.no_grad():
        network(torch.rand(2, 3, 6, 6))
    with torch.inference_mode():
        network(torch.rand(2, 3, 6, 6))
    with pytest.raises(UsageError, match="does not reach 0"):
        taps.take()


def test_outputs_are_told_once(network: nn.Sequential) -> None:
    taps = Taps(network, ["0"])
    network(torch.rand(1, 3, 4, 4))
    taps.take()
    with pytest.raises(UsageError, match="does not reach 0"):
        taps.take()


def test_no_hook_is_left(network: nn.Sequential) -> None:
    taps = Taps(network, ["0", "1"])
    assert hooks(network) == 2
    taps.remove()
    assert hooks(network) == 0


def test_a_wrong_name_leaves_no_hook_either(network: nn.Sequential) -> None:
    with pytest.raises(UsageError, match=r"no module '1\.2'") as caught:
        Taps(network, ["0", "1.2"])
    assert "did you mean 1." in str(caught.value) and hooks(network) == 0


def test_what_is_no_feature_map_is_refused(network: nn.Sequential) -> None:
    Taps(network, ["2"])
    with pytest.raises(UsageError, match=r"2 gives no feature map \[N,C,H,W\] but \[1, 20\]"):
        network(torch.rand(1, 3, 4, 4))


def test_finding_channels_changes_nothing(network: nn.Sequential) -> None:
    network.insert(1, nn.BatchNorm2d(4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    assert tapped_channels(network, ["0", "2.1"], (5, 7), 3) == [4, 5]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random) and hooks(network) == 0
    assert all(p.grad is None for p in network.parameters())


NETWORKS: list[tuple[str, dict[str, object], tuple[int, int], list[int]]] = [
    ("dynamic-small", {"width": 4, "gate": "normal"}, (32, 64), [4, 8, 16, 32, 4]),
    ("dynamic-small", {"width": 4, "depth": 3, "gate": "none"}, (32, 32), [4, 8, 16, 32, 4]),
    ("dynamic-a", {"width": 2, "gate": "normal"}, (32, 64), [2, 4, 8, 16, 2]),
    ("adder-resnet20", {"kind": "ordinary"}, (32, 32), [16, 16, 32, 64]),
    ("aa-resnet18", {}, (64, 64), [64, 64, 128, 256, 512]),
    ("aa-cifar-resnet20", {"width": 4}, (32, 32), [4, 4, 8, 16]),
]


@pytest.mark.parametrize(("name", "arguments", "size", "channels"), NETWORKS)
def test_our_networks_have_points_from_shallow_to_deep(
    name: str, arguments: dict[str, object], size: tuple[int, int], channels: list[int]
) -> None:
    network = build_network(name, arguments)
    assert tapped_channels(network, attach_points(network), size, 3) == channels


def test_deeplabs_points_are_its_backbones() -> None:
    """Not run: a forward of the copy takes seconds, and names are all that could be wrong."""
    network = build_network("aa-deeplabv3plus-resnet101")
    points = attach_points(network)
    assert points == [f"backbone.{name}" for name in ("maxpool", "layer1", "layer2", "layer3", "layer4")]
    Taps(network, points).remove()


def test_points_of_another_network_must_be_given() -> None:
    with pytest.raises(UsageError, match="exits of a LeNet5BN sit is not known") as caught:
        attach_points(build_network("adder-lenet5-bn"))
    assert "self_regulation.points" in str(caught.value)


def test_every_point_of_a_routed_network_gets_a_gradient() -> None:
    """Whatever its gates say: the taps are in front of them."""
    torch.manual_seed(0)
    network = build_network("dynamic-small", {"width": 4, "gate": "normal"})
    points = attach_points(network)
    taps = Taps(network, points)
    network(torch.randn(2, 3, 32, 64))
    features: list[Tensor] = taps.take()
    sum((f.square().mean() for f in features), torch.zeros(())).backward()
    for point in points:
        assert any(bool((p.grad != 0).any()) for p in network.get_submodule(point).parameters() if p.grad is not None)
