"""RotNet teaches all rotations of all images, and measures how many it gets right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.training.batches import Batches, Division
from adroit.models.training.methods.rotnet import Rotations
from adroit.models.training.tables import AugmentationRecipe
from adroit.models.training.tasks import task_of
from tests.models.training.methods.recipes import tiny, trained


class Vane(nn.Module):
    """Knows how images were turned that are brightest at the top."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        top, left, bottom, right = x[:, :, :8], x[:, :, :, :8], x[:, :, -8:], x[:, :, :, -8:]
        return torch.stack([part.mean((1, 2, 3)) for part in (top, left, bottom, right)], 1)


def test_samples_are_every_image_in_every_rotation(images: Path) -> None:
    inner = task_of(tiny(images, {}))
    task = Rotations(inner)
    assert len(task) == 4 * len(inner) == 48 and len(task.labels) == 4
    for index in range(0, 48, 5):
        x, y = task.sample(index, torch.Generator())
        image, _ = inner.sample(index // 4, torch.Generator())
        assert int(y) == index % 4
        np.testing.assert_array_equal(x.numpy(), np.rot90(image.numpy(), index % 4, (1, 2)))


@pytest.mark.parametrize("together", [True, False])
def test_a_batch_is_an_augmented_image_in_all_four_rotations(images: Path, together: bool) -> None:
    """Or, where they are not together, of images and rotations as they come."""
    recipe = replace(tiny(images, {}), augmentation=AugmentationRecipe(shift=3, flip=True, brightness=0.4))
    batches = Batches(Rotations(task_of(recipe), together), recipe.optimizer, 0, Division(), 0)
    alike = []
    for ((x, y),) in batches.steps(0, 12):
        turned = torch.stack([torch.rot90(x[0], int(quarters) - int(y[0]), (1, 2)) for quarters in y])
        alike.append(torch.equal(x, turned) and y.tolist() == [0, 1, 2, 3])
    assert alike == [together] * 12


def test_the_measure_is_the_share_of_rotations_that_are_told(tmp_path: Path) -> None:
    """Eleven images that are brightest at the top, and one that is not."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 50, (12, 32, 32, 3)).astype(np.uint8)
    pictures[:11, :8] += 150
    pictures[11, -8:] += 150  # every rotation of it looks like another one
    np.savez(tmp_path / "data.npz", images=pictures, labels=np.arange(12) % 10)
    task = Rotations(task_of(tiny(tmp_path / "data.npz", {})))
    assert task.evaluate(Vane()) == pytest.approx(11 / 12)


def test_a_checkpoint_of_four_classes_comes_out(rotnet: Path) -> None:
    network, config = load_checkpoint(rotnet)
    assert list(config.labels) == ["0 degrees", "90 degrees", "180 degrees", "270 degrees"]
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 4) and "rotnet" in config.source


def test_other_numbers_of_classes_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are 4 classes to be learnt, and the network has 10") as caught:
        trained(tiny(images, {"rotnet": {}}), tmp_path / "a")
    assert "set classes = 4" in str(caught.value)


def test_the_same_seed_gives_the_same_weights_and_another_others(images: Path, rotnet: Path, tmp_path: Path) -> None:
    again = tiny(images, {"rotnet": {}}, classes=4)
    for name, recipe in (("same", again), ("other", replace(again, seed=1))):
        trained(recipe, tmp_path / name)
    one, same, other = (load_checkpoint(p)[0].state_dict() for p in (rotnet, tmp_path / "same", tmp_path / "other"))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["fc.weight"], other["fc.weight"])
