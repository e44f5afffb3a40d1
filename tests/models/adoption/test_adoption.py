"""Adoption changes the layers it knows and nothing else of a network: places, hooks, modes, parameters."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.adoption import adopt
from adroit.models.layers.adder import AdderConv2d
from tests.models.adoption.public_style import BlurPool, Downsample_PASA_group_softmax, adder2d


class Block(nn.Module):
    """Layers in every kind of container that PyTorch and Python have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(adder2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4, eps=0.1))
        self.listed = nn.ModuleList([adder2d(4, 4, 1), nn.ReLU()])
        self.named = nn.ModuleDict({"blur": BlurPool(4), "filter": Downsample_PASA_group_softmax(4, 3)})
        self.steps: list[Any] = [self.stem, self.listed[0], (self.named["blur"], {"filter": self.named["filter"]})]

    def forward(self, x: Tensor) -> Tensor:
        stem, adder, (blur, further) = self.steps
        result: Tensor = further["filter"](blur(adder(stem(x))))
        return result


def test_modules_in_every_container_are_adopted() -> None:
    network = nn.DataParallel(nn.Sequential(Block())).eval()
    adoption = adopt(network)
    assert [adopted.paths for adopted in adoption.adopted] == [
        ("module.0.stem.0",),
        ("module.0.listed.0", "module.0.steps[1]"),
        ("module.0.named.blur", "module.0.steps[2][0]"),
        ("module.0.named.filter", "module.0.steps[2][1]['filter']"),
    ]
    block = adoption.network.module[0]
    assert block.steps[1] is block.listed[0] and block.steps[2][0] is block.named["blur"]
    assert block.steps[2][1]["filter"] is block.named["filter"]
    x = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(adoption.network(x), network(x), rtol=1e-4, atol=1e-4)
    assert block.stem[1].eps == 0.1


def test_the_network_given_stays_as_it_was_unless_asked() -> None:
    network = nn.Sequential(adder2d(1, 1, 1))
    copied = adopt(network).network
    assert type(network[0]) is adder2d and type(copied[0]) is AdderConv2d
    assert copied[0].weight is not network[0].adder
    weight = network[0].adder
    assert adopt(network, in_place=True).network is network
    assert network[0].weight is weight


def test_a_network_that_is_one_layer_is_adopted() -> None:
    adoption = adopt(adder2d(1, 1, 1), in_place=True)
    assert type(adoption.network) is AdderConv2d
    assert str(adoption) == (
        "(the network): tests.models.adoption.public_style.adder2d -> AdderConv2d(1x1x1x1, stride=1, padding=0)"
    )


def test_shared_modules_and_tied_parameters_stay_shared() -> None:
    shared, tied = adder2d(2, 2, 1), adder2d(2, 2, 1)
    tied.adder = shared.adder
    adoption = adopt(nn.Sequential(shared, tied, shared))
    assert [adopted.paths for adopted in adoption.adopted] == [("0", "2"), ("1",)]
    first, second, third = adoption.network
    assert first is third and first is not second and first.weight is second.weight
    assert sum(1 for _ in adoption.network.parameters()) == 1


def test_hooks_and_their_handles_stay() -> None:
    layer = adder2d(1, 1, 1)
    seen: list[str] = []
    layer.register_forward_pre_hook(lambda module, arguments: seen.append("before"))
    after = layer.register_forward_hook(lambda module, arguments, result: seen.append("after"))
    layer.register_full_backward_hook(lambda module, inputs, outputs: seen.append("backward"))
    network = adopt(nn.Sequential(layer), in_place=True).network
    assert seen == []  # the comparison calls none of them
    x = torch.zeros(1, 1, 1, 1, requires_grad=True)
    network(x).sum().backward()
    assert seen == ["before", "after", "backward"]
    after.remove()
    network(x)
    assert seen == ["before", "after", "backward", "before"]


def test_each_module_keeps_its_mode_of_training() -> None:
    network = nn.Sequential(adder2d(1, 1, 1).eval(), adder2d(1, 1, 1).train(), BlurPool(1).eval()).requires_grad_(False)
    network.training = True
    adopted = adopt(network).network
    assert [module.training for module in adopted] == [False, True, False]
    assert adopted.training and not any(parameter.requires_grad for parameter in adopted.parameters())


def test_an_optimizer_goes_on_with_the_parameters_it_has() -> None:
    network = nn.Sequential(adder2d(2, 3, 3, bias=True), nn.BatchNorm2d(3))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    adopt(network, in_place=True)
    assert {id(p) for p in network.parameters()} == {id(p) for p in optimizer.param_groups[0]["params"]}


def test_adopting_twice_changes_nothing_more() -> None:
    network = adopt(nn.Sequential(Block())).network
    adoption = adopt(network)
    assert adoption.adopted == () and adoption.left == () and str(adoption) == ""


def test_random_numbers_of_the_user_are_not_drawn() -> None:
    network = Block()
    state = torch.get_rng_state()
    adopt(network)
    assert torch.equal(torch.get_rng_state(), state)


def test_settings_of_the_user_do_not_reach_the_comparison() -> None:
    network = nn.Sequential(adder2d(2, 3, 3), BlurPool(3)).half()
    with torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        adoption = adopt(network)
    assert [adopted.note for adopted in adoption.adopted] == ["", ""]
    assert next(adoption.network.parameters()).dtype == torch.float16


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_compiled_and_traced_modules_do_no_harm() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.ReLU()))
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.BatchNorm2d(1), BlurPool(1)))
    adoption = adopt(nn.Sequential(scripted, traced))
    assert adoption.left == ()
    adoption.network(torch.zeros(1, 1, 8, 8))


def test_a_network_that_cannot_be_copied_is_refused_with_the_way_out() -> None:
    network = nn.Sequential(adder2d(1, 1, 1))
    network.lock = threading.Lock()
    with pytest.raises(UsageError, match="cannot copy this Sequential") as error:
        adopt(network)
    assert error.value.hint == "call adopt(network, in_place=True)"
    assert len(adopt(network, in_place=True).adopted) == 1


def test_a_network_on_the_device_meta_is_adopted_without_a_comparison() -> None:
    with torch.device("meta"):
        network = nn.Sequential(adder2d(2, 3, 3), BlurPool(3))
    adoption = adopt(network)
    assert [adopted.paths for adopted in adoption.adopted] == [("0",)]
    assert "device meta" in adoption.adopted[0].note and "device meta" in adoption.left[0].reason


def test_the_report_names_what_stays() -> None:
    layer = adder2d(1, 1, 1)
    layer.groups = 2
    assert str(adopt(nn.Sequential(layer))) == (
        "0: tests.models.adoption.public_style.adder2d stays: its groups is 2; AdderConv2d has no such option"
    )


def test_an_adopted_network_is_traced_to_the_operators_of_adroit() -> None:
    network = adopt(Block().eval()).network
    program = torch.export.export(network, (torch.zeros(2, 3, 12, 12),))
    operators = [str(node.target) for node in program.graph.nodes if "adroit" in str(node.target)]
    assert operators == ["adroit.adder_conv2d.default", "adroit.adder_conv2d.default", "adroit.adaptive_filter.default"]
