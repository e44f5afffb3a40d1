"""The perceptual loss as a method: its teacher, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import CheckpointConfig
from adroit.models.data.segmentation import CAMVID_CLASSES
from adroit.models.losses.generic_perceptual import GenericPerceptualLoss, RandomVgg, one_hot_map
from adroit.models.networks.architectures import architecture_named, build_network
from adroit.models.training.methods.base import Setup, Step, Teacher
from adroit.models.training.methods.perceptual_loss import PerceptualLoss, Settings
from adroit.models.training.tables import DataRecipe, OptimizerRecipe, Recipe
from tests.models.training.methods.conftest import VOID

SMALL = Settings(width=4)
RECIPE = Recipe(
    "dynamic-small", DataRecipe("camvid"), OptimizerRecipe(1), arguments={"depth": 3, "width": 4, "gate": "normal"}
)


class Streets:
    """What the method needs of a task."""

    ignored = VOID
    input_size = (32, 64)
    labels = CAMVID_CLASSES
    preprocessing = architecture_named("dynamic-small").preprocessing


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network(RECIPE.architecture, RECIPE.arguments)


@pytest.fixture
def teacher() -> Teacher:
    torch.manual_seed(1)
    network = build_network("dynamic-small", {"depth": 3, "width": 8, "gate": "none"}).eval().requires_grad_(False)
    return Teacher(network, CheckpointConfig("dynamic-small", Streets.preprocessing, {}, CAMVID_CLASSES))


def made(settings: Settings, network: nn.Module, teacher: Teacher | None, recipe: Recipe = RECIPE) -> PerceptualLoss:
    return PerceptualLoss(settings, Setup(recipe, Streets(), network, teacher))  # type: ignore[arg-type]


def test_the_target_is_the_teachers_soft_labels(network: nn.Module, teacher: Teacher) -> None:
    x, y = torch.randn(2, 3, 32, 64), torch.zeros(2, 32, 64, dtype=torch.int64)
    logits = network(x)
    result = made(replace(SMALL, weight=3.0), network, teacher).loss(Step(x, y, logits, 0.5))
    with torch.no_grad():
        target = teacher.network(x).softmax(1)
    expected = GenericPerceptualLoss(RandomVgg(11, width=4))(logits.softmax(1), target)
    assert result.item() == pytest.approx(3.0 * expected.item(), rel=1e-6) and result.item() > 0
    result.backward()
    assert all(p.grad is not None for p in network.get_submodule("sem_seg_head").parameters())
    assert all(p.grad is None for p in teacher.network.parameters())


def test_a_student_that_answers_as_its_teacher_has_no_loss(teacher: Teacher) -> None:
    x = torch.randn(1, 3, 32, 64)
    step = Step(x, torch.zeros(1, 32, 64, dtype=torch.int64), teacher.network(x), 0.5)
    assert made(SMALL, teacher.network, teacher).loss(step).item() == 0.0


def test_the_target_may_be_the_labels_and_void_does_not_count(network: nn.Module) -> None:
    method = made(replace(SMALL, target="labels"), network, None)
    y = torch.randint(0, 11, (1, 32, 64))
    y[:, :8] = VOID
    x, logits = torch.zeros(1, 3, 32, 64), torch.randn(1, 11, 32, 64)
    counted = (y != VOID)[:, None]
    target, shown = one_hot_map(y, 11), logits.softmax(1) * counted
    expected = GenericPerceptualLoss(RandomVgg(11, width=4))(shown, target)
    assert method.loss(Step(x, y, logits, 0.0)).item() == pytest.approx(expected.item(), rel=1e-6)


def test_nothing_of_it_is_trained_or_saved(network: nn.Module, teacher: Teacher) -> None:
    method = made(SMALL, network, teacher)
    assert not list(method.parameters()) and not method.state_dict()
    assert method.parameter_groups(RECIPE) == []


def test_it_draws_nothing_from_torchs_generator(network: nn.Module, teacher: Teacher) -> None:
    """So that a training with it begins and goes on like the plain one."""
    before = torch.get_rng_state()
    made(SMALL, network, teacher)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(SMALL, kernel_size=2), "perceptual_loss.kernel_size must be odd, and is 2"),
        (replace(SMALL, shrink=4), "perceptual_loss.shrink of 4 leaves fewer than 16 pixels a side"),
    ],
)
def test_what_makes_no_embedding_is_refused(
    network: nn.Module, teacher: Teacher, settings: Settings, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        made(settings, network, teacher)


def test_a_missing_teacher_and_one_of_other_classes_are_refused(network: nn.Module, teacher: Teacher) -> None:
    with pytest.raises(UsageError, match='target is "teacher", and the recipe has none') as caught:
        made(SMALL, network, None)
    assert "--teacher CHECKPOINT" in str(caught.value)
    other = Teacher(teacher.network, replace(teacher.config, labels=("road", "sky")))
    with pytest.raises(UsageError, match="the teacher's classes are not the data's"):
        made(SMALL, network, other)
    darker = replace(teacher.config.preprocessing, mean=(0.0, 0.0, 0.0))
    with pytest.raises(UsageError, match="the teacher's preprocessing is not the data's"):
        made(SMALL, network, Teacher(teacher.network, replace(teacher.config, preprocessing=darker)))


def test_a_classifier_is_refused(network: nn.Module, teacher: Teacher) -> None:
    recipe = Recipe("adder-resnet20", DataRecipe(), OptimizerRecipe(1))
    with pytest.raises(UsageError, match="perceptual_loss does not fit adder-resnet20"):
        made(SMALL, network, teacher, recipe)
