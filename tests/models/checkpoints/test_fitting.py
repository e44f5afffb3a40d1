"""Weights are loaded strictly, and what does not fit is one error that says what is likely wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adroit.errors import AdroitWarning, UnsupportedModel
from adroit.models.checkpoints.fitting import fit_weights

State = dict[str, Tensor]


def network(classes: int = 3) -> nn.Sequential:
    torch.manual_seed(classes)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, classes))


def without(state: State, part: str) -> State:
    return {name: tensor for name, tensor in state.items() if part not in name}


@pytest.mark.parametrize("prefix", ["", "model.", "backbone.", "module.model.", "model._orig_mod.backbone."])
def test_weights_arrive_with_and_without_a_prefix(prefix: str) -> None:
    state = {
        f"{prefix}{name}": torch.rand_like(t) if t.is_floating_point() else t
        for name, t in network().state_dict().items()
    }
    target = network()
    fit_weights(target, state, "file.pth")
    assert all(torch.equal(tensor, state[prefix + name]) for name, tensor in target.state_dict().items())


def test_a_prefix_that_the_network_has_too_stays() -> None:
    target = nn.Module()
    target.model = network()
    state = {name: torch.zeros_like(tensor) for name, tensor in target.state_dict().items()}
    fit_weights(target, state, "file.pth")
    assert not any(tensor.any() for tensor in target.state_dict().values())


def test_a_batch_norms_counter_may_be_missing_or_too_many() -> None:
    state = network().state_dict()
    fit_weights(network(), without(state, "num_batches_tracked"), "file.pth")
    fit_weights(network(), {**state, "9.num_batches_tracked": torch.tensor(1)}, "file.pth")


def test_what_tools_add_is_passed_over_and_said() -> None:
    state = network().state_dict()
    extras = {"0.total_ops": torch.zeros(1), "normalize.mean": torch.tensor([0.5]), "n_averaged": torch.tensor(3)}
    with pytest.warns(AdroitWarning, match=r"thop \(0\.total_ops\).*normalize\.mean \[0\.5\].*compare") as caught:
        fit_weights(network(), {**state, **extras}, "file.pth")
    assert len(caught) == 1 and "counters of the training (n_averaged)" in str(caught[0].message)


def test_a_networks_own_buffers_are_no_extras() -> None:
    target = network()
    target.register_buffer("mean", torch.zeros(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_weights(target, {**network().state_dict(), "mean": torch.ones(3)}, "file.pth")
    assert target.get_buffer("mean").tolist() == [1, 1, 1]


def test_a_large_mean_is_no_normalization() -> None:
    with pytest.raises(UnsupportedModel, match=r"1 unexpected  head\.mean"):
        fit_weights(network(), {**network().state_dict(), "head.mean": torch.zeros(64)}, "file.pth")


@pytest.mark.parametrize("prefix", ["model.", "module."])
def test_a_prefix_that_only_the_network_has_is_put_on(prefix: str) -> None:
    target = nn.Module()
    target.add_module(prefix.removesuffix("."), network(3))
    state = {name: torch.rand_like(t) if t.is_floating_point() else t for name, t in network().state_dict().items()}
    fit_weights(target, state, "file.pth")
    assert all(torch.equal(tensor, target.state_dict()[prefix + name]) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (lambda s: without(s, "3.bias"), ["file.pth does not hold the weights of Sequential: 1 ", "1 missing  3.bias"]),
        (lambda s: {**s, "9.weight": s["3.bias"]}, ["1 unexpected  9.weight"]),
        (
            lambda s: {**s, "0.weight": torch.zeros(2, 1, 5, 5)},
            ["1 of another shape  0.weight is [2, 1, 5, 5], expected [2, 1, 3, 3]", "check the network's name"],
        ),
        (
            lambda s: {**s, **{f"{i}.odd": torch.zeros(1) for i in range(20, 33)}},
            ["13 unexpected  20.odd, 21.odd", "29.odd, and 3 more"],
        ),
        (lambda s: network(7).state_dict(), ["the file's last layer has 7 classes, the network's 3: make it with 7"]),
        (lambda s: {f"student.{n}": t for n, t in s.items()}, ["the file's names begin with 'student.'"]),
        (lambda s: {}, ["8 missing"]),
        (lambda s: {**s, "3.bias": torch.zeros(3, dtype=torch.int64)}, ["another kind", "3.bias is int64 on cpu"]),
        (lambda s: {**s, "3.bias": torch.full((3,), 1e300, dtype=torch.float64)}, ["NaN, infinite", "3.bias"]),
        (lambda s: {**s, "1.running_var": torch.tensor([1.0, -1.0])}, ["a variance below 0", "1.running_var"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change: Callable[[State], State], texts: list[str]) -> None:
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(UnsupportedModel) as caught:
        fit_weights(target, change(network().state_dict()), "file.pth")
    assert all(text in str(caught.value) for text in texts), str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_a_prefix_that_only_the_network_has_is_said() -> None:
    target = nn.Module()
    target.encoder = network()
    with pytest.raises(UnsupportedModel, match=r"the network's names begin with 'encoder\.'"):
        fit_weights(target, network().state_dict(), "file.pth")
