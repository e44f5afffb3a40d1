"""Batches follow from the seed alone: not from workers, processes or where a training was interrupted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adroit.errors import UsageError
from adroit.models.training.batches import Batches, Division, generator_of, steps_of_epoch
from adroit.models.training.tables import OptimizerRecipe

IMAGES = 10


class Numbers:
    """A task whose sample holds its index and what its generator gave."""

    views = 1

    def __len__(self) -> int:
        return IMAGES

    def sample(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.rand(2, generator=generator), torch.tensor(index)


class Pairs(Numbers):
    """Five images in two views each."""

    views = 2


class Faulty(Numbers):
    def sample(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        raise UsageError(f"image {index} is broken", facts={"file": "a.png"}, hint="mend it")


def batches(division: Division = Division(), workers: int = 0, seed: int = 0, task: object = None) -> Batches:  # noqa: B008
    settings = OptimizerRecipe(3, 4, precise_batch_norm=3)
    return Batches(task or Numbers(), settings, seed, division, workers)  # type: ignore[arg-type]


def steps(given: Batches, first: int = 0, last: int = 6) -> list[list[tuple[Tensor, Tensor]]]:
    return list(given.steps(first, last))


def same(a: list[list[tuple[Tensor, Tensor]]], b: list[list[tuple[Tensor, Tensor]]]) -> bool:
    flat = [[tensor for step in side for part in step for tensor in part] for side in (a, b)]
    return len(flat[0]) == len(flat[1]) and all(map(torch.equal, *flat))


def test_an_epoch_takes_every_image_at_most_once_and_the_next_in_another_order() -> None:
    indices = [part[1].tolist() for step in steps(batches()) for part in step]
    epochs = [indices[i] + indices[i + 1] for i in (0, 2, 4)]
    assert all(len(set(epoch)) == 8 for epoch in epochs) and len({tuple(epoch) for epoch in epochs}) == 3


def test_an_image_meets_other_random_numbers_in_every_epoch() -> None:
    met = [tuple(x.tolist()) for step in steps(batches()) for xs, _ in step for x in xs]
    assert len(set(met)) == len(met) == 24


def test_workers_change_nothing() -> None:
    assert same(steps(batches()), steps(batches(workers=2)))
    assert not same(steps(batches()), steps(batches(seed=1)))


def test_a_training_goes_on_in_the_middle_of_an_epoch() -> None:
    assert same(steps(batches())[3:], steps(batches(), 3))


@pytest.mark.parametrize(("parts", "processes"), [(2, 1), (1, 2), (2, 2)])
def test_parts_and_processes_share_a_batch(parts: int, processes: int) -> None:
    whole = steps(batches())
    shares = [steps(batches(Division(parts, processes, i))) for i in range(processes)]
    for number, (expected,) in enumerate(whole):
        result = [part for share in shares for part in share[number]]
        order = torch.cat([y for _, y in result]).argsort()
        assert torch.equal(torch.cat([y for _, y in result])[order], expected[1].sort().values)
        assert torch.equal(torch.cat([x for x, _ in result])[order], expected[0][expected[1].argsort()])


def test_views_of_an_image_are_in_one_batch_with_the_same_random_numbers() -> None:
    given = batches(task=Pairs())
    epochs: list[list[int]] = [[], [], []]
    for number, (part,) in enumerate(steps(given)):
        x, y = part
        assert torch.equal(y[1::2], y[::2] + 1) and not bool((y[::2] % 2).any())
        assert torch.equal(x[::2], x[1::2]) and not torch.equal(x[0], x[2])
        epochs[number // 2] += y.tolist()
    assert all(len(set(epoch)) == 8 for epoch in epochs) and len({tuple(epoch) for epoch in epochs}) == 3
    assert same(steps(given)[3:], steps(given, 3)), "also where an interrupted training goes on"
    with pytest.raises(UsageError, match=r"optimizer\.batch is 3, and every image comes 2 times in one batch"):
        steps_of_epoch(10, OptimizerRecipe(1, 3), 2)


def test_settling_takes_as_many_batches_as_asked() -> None:
    result = list(batches().statistics_inputs())
    assert [x.shape for x in result] == [(4, 2)] * 3
    assert [len(x) for x in batches(Division(1, 2, 1)).statistics_inputs()] == [2] * 3


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_keeps_its_facts_on_the_way_from_a_worker(workers: int) -> None:
    with pytest.raises(UsageError, match="is broken") as caught:
        steps(batches(workers=workers, task=Faulty()))
    assert caught.value.facts == {"file": "a.png"} and caught.value.hint == "mend it"


def test_a_batch_beyond_the_images_is_refused() -> None:
    assert steps_of_epoch(10, OptimizerRecipe(1, 4)) == 2
    with pytest.raises(UsageError, match=r"optimizer\.batch is 11, and there are 10 training images"):
        steps_of_epoch(10, OptimizerRecipe(1, 11))


def test_seeds_are_mixed_from_all_numbers() -> None:
    seeds = {generator_of(*numbers).initial_seed() for numbers in ((0, 1), (1, 0), (0, 1, 1), (1, 1))}
    assert len(seeds) == 4
