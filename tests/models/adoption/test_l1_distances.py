"""L1 distances of pairs are found in traced graphs, however they are written; other differences are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.models.adoption import L1Distance, adopt, find_l1_distances
from tests.models.adoption.public_style import adder2d

Distance = Callable[[Tensor, Tensor], Tensor]


class Written(nn.Module):
    """A filter bank [4,12] against windows [N,12,9] of an image."""

    def __init__(self, distance: Distance) -> None:
        super().__init__()
        self.distance = distance
        self.filters = nn.Parameter(torch.randn(4, 12))

    def forward(self, x: Tensor) -> Tensor:
        return self.distance(self.filters, functional.unfold(x, 2))


def _found(module: nn.Module, decomposed: bool = False) -> tuple[L1Distance, ...]:
    program = torch.export.export(
        module.eval(), (torch.randn(2, 3, 4, 4),), dynamic_shapes=({0: torch.export.Dim.AUTO},)
    )
    return find_l1_distances(program.run_decompositions() if decomposed else program)


WRITTEN: dict[str, Distance] = {
    "by broadcasting": lambda w, t: -(w[:, :, None] - t[:, None]).abs().sum(2),
    "the other way round": lambda w, t: (t[:, None] - w[:, :, None]).abs().neg().sum(2),
    "in place": lambda w, t: (w[:, :, None] - t[:, None]).abs_().sum(2).neg_(),
    "with a sum of the opposite": lambda w, t: (w[:, :, None] + (-t[:, None])).abs().sum(2),
    "expanded first": lambda w, t: (w[:, :, None].expand(2, 4, 12, 9) - t[:, None].expand(2, 4, 12, 9)).abs().sum(2),
    "reshaped in between": lambda w, t: (w[:, :, None] - t[:, None]).flatten(2).abs().view(-1, 4, 12, 9).sum(2),
    "as a mean": lambda w, t: (w[:, :, None] - t[:, None]).abs().mean(2),
    "as a norm": lambda w, t: torch.linalg.vector_norm(w[:, :, None] - t[:, None], ord=1, dim=2),
    "as the older norm": lambda w, t: torch.norm(w[:, :, None] - t[:, None], p=1, dim=2),
    "as a loss": lambda w, t: functional.l1_loss(
        w[None, :, :, None].expand(2, 4, 12, 9), t[:, None].expand(2, 4, 12, 9), reduction="none"
    ).sum(2),
    "as cdist": lambda w, t: -torch.cdist(w[None], t.transpose(1, 2), p=1.0),
    "one filter": lambda w, t: (w[0][:, None] - t).abs().sum(1),
}  # fmt: skip
OTHER: dict[str, Distance] = {
    "cdist of order 2": lambda w, t: torch.cdist(w[None], t.transpose(1, 2)),
    "a norm of order 2": lambda w, t: torch.linalg.vector_norm(w[:, :, None] - t[:, None], dim=2),
    "squares": lambda w, t: (w[:, :, None] - t[:, None]).square().sum(2),
    "a difference of equal shapes": lambda w, t: (t - t.roll(1, 2)).abs().sum(1),
    "a loss": lambda w, t: functional.l1_loss(t, 2 * t),
    "the deviation from the mean": lambda w, t: (w - w.mean(1, keepdim=True)).abs().mean(),
    "a difference of no pairs": lambda w, t: (t - 1.0).abs().sum(1),
    "a sum": lambda w, t: (w[:, :, None] + t[:, None]).abs().sum(2),
    "no sum": lambda w, t: (w[:, :, None] - t[:, None]).abs(),
}


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("style", WRITTEN)
def test_a_written_out_distance_is_found(style: str, decomposed: bool) -> None:
    (distance,) = _found(Written(WRITTEN[style]), decomposed)
    assert (distance.module, distance.class_name) == ("", f"{__name__}.Written")
    assert distance.source.startswith(f"{__file__}:")


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("style", OTHER)
def test_other_differences_are_none(style: str, decomposed: bool) -> None:
    assert _found(Written(OTHER[style]), decomposed) == ()


def test_module_path_and_source_line_are_named() -> None:
    network = nn.Sequential(nn.ReLU(), nn.ModuleDict({"a": adder2d(3, 2, 3)})["a"])
    (distance,) = _found(network)
    line = "y = self.distances(x)"
    file = Path(__file__).with_name("public_style.py")
    number = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if text.endswith(line))
    assert distance.operations == "sub, abs, sum" and distance.code == line
    assert str(distance) == (
        "1 (tests.models.adoption.public_style.adder2d) writes out an L1 distance: sub, abs, sum, "
        f"{file}:{number}: {line}"
    )


def test_distances_of_a_shared_module_and_of_a_branch_are_found() -> None:
    layer = adder2d(3, 3, 1)

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(self.layer(x))
            return torch.cond(y.sum() > 0, lambda z: -(z[:, :, None] - z[:, None]).abs().sum(1), torch.clone, (y,))

    program = torch.export.export(Branches().eval(), (torch.randn(2, 3, 3, 3),))
    assert [distance.module for distance in find_l1_distances(program)] == ["layer", "layer", ""]


def test_an_adopted_network_has_none() -> None:
    assert _found(adopt(nn.Sequential(adder2d(3, 2, 3))).network) == ()
