"""Self-regulation of a network: its whole loss, and what is left of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.losses.self_regulation import ExitAnswers
from adroit.models.networks.architectures import build_network
from adroit.models.training.methods.base import Setup, Step
from adroit.models.training.methods.exits import ExitHeads
from adroit.models.training.methods.self_regulation import SelfRegulation, Settings
from adroit.models.training.tables import DataRecipe, OptimizerRecipe, Recipe
from tests.models.losses.direct import Array, softmax
from tests.models.training.methods.conftest import VOID, Recipes

SHORT = Settings(channels=6)


class Classes:
    """What the method needs of a task."""

    ignored: int | None = None
    input_size = (32, 32)

    class preprocessing:
        mean = (0.0, 0.0, 0.0)


def made(settings: Settings, recipe: Recipe, task: object, network: nn.Module) -> SelfRegulation:
    return SelfRegulation(settings, Setup(recipe, task, network, None))  # type: ignore[arg-type]


@pytest.fixture
def classifier() -> Callable[[Settings], tuple[nn.Module, SelfRegulation]]:
    def build(settings: Settings) -> tuple[nn.Module, SelfRegulation]:
        torch.manual_seed(0)
        arguments = {"width": 4, "filter": "none"}
        network = build_network("aa-cifar-resnet20", arguments)
        recipe = Recipe("aa-cifar-resnet20", DataRecipe(), OptimizerRecipe(1), arguments=arguments)
        return network, made(settings, recipe, Classes(), network)

    return build


def segmenter(recipe: Recipe, settings: Settings) -> tuple[nn.Module, SelfRegulation, Step]:
    torch.manual_seed(0)
    network = build_network(recipe.architecture, recipe.arguments)
    task = Classes()
    task.ignored, task.input_size = VOID, (64, 96)
    method = made(settings, recipe, task, network)
    x, y = torch.randn(2, 3, 64, 96), torch.randint(0, 11, (2, 64, 96))
    y[:, :5], y[1] = VOID, 3
    return network, method, Step(x, y, network(x), 1.0)


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def array(x: Tensor | None) -> Array:
    assert x is not None
    return x.detach().double().numpy()


def cross_entropy(teacher: Array, student: Array, temperature: float) -> float:
    """Of [N,M,...]: the mean over all but M of - sum t log s, both tempered and normalized."""
    t, s = softmax(teacher / temperature, 1), softmax(student / temperature, 1)
    return float(-(t * np.log(s)).sum(1).mean())


def multi_exit(exits: list[ExitAnswers], y: np.ndarray, classes: int) -> tuple[float, float]:
    """L_cls and L_seg by their definitions."""
    present = np.array([[float((sample == k).any()) for k in range(classes)] for sample in y])
    in_image, of_pixels = 0.0, 0.0
    for answers in exits:
        scores = 1 / (1 + np.exp(-array(answers.image)))
        in_image -= float((present * np.log(scores) + (1 - present) * np.log(1 - scores)).mean())
        chances = softmax(array(answers.pixels), 1)
        counted = [chances[n, y[n, r, c], r, c] for n, r, c in zip(*np.nonzero(y != VOID), strict=True)]
        of_pixels -= float(np.log(counted).mean())
    return in_image, of_pixels


def resized(x: Tensor, like: Tensor) -> Array:
    return array(nn.functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False))


@pytest.mark.parametrize(("progress", "weights"), [(0.1, (0.2, 0.8, 1.0)), (0.25, (0.2, 0.8, 1.0)), (0.9, (2, 3, 4))])
def test_the_whole_loss_is_the_formulas(recipes: Recipes, progress: float, weights: tuple[float, ...]) -> None:
    """By default 0.2 L_cls + 0.8 L_seg + 1.0 (SR-F + SR-L), the last from a quarter of the training on."""
    settings = replace(SHORT, feature_temperature=2.0, logit_temperature=3.0)
    if weights != (0.2, 0.8, 1.0):
        names = ("classification_weight", "segmentation_weight", "regulation_weight")
        settings = replace(settings, **dict(zip(names, weights, strict=True)))
    network, method, step = segmenter(recipes("")[0], settings)
    total = method.loss(dataclasses.replace(step, progress=progress))
    total.backward()
    network.zero_grad()
    logits = network(step.x)
    with torch.no_grad():
        exits = method.heads(method._taps.take(), logits)
    assert len(exits) == 5 and exits[-1].pixels is not None
    np.testing.assert_array_equal(array(exits[-1].pixels), array(logits))
    first = exits[0].features
    t = array(first)
    features = [resized(e.features, first) for e in exits[1:]]
    shallow_to_deep = sum(cross_entropy(t, s, 2.0) - cross_entropy(t, t, 2.0) for s in features)
    last, images = array(exits[-1].image), [array(e.image) for e in exits[:-1]]
    deep_to_shallow = sum(cross_entropy(last, s, 3.0) - cross_entropy(last, last, 3.0) for s in images)
    in_image, of_pixels = multi_exit(exits, step.y.numpy(), 11)
    taught = (shallow_to_deep + deep_to_shallow) if progress >= 0.25 else 0.0
    expected = weights[0] * in_image + weights[1] * of_pixels + weights[2] * taught
    assert total.item() == pytest.approx(expected, rel=2e-5)
    assert shallow_to_deep > 0.01 and deep_to_shallow > 0.001


def test_every_head_and_every_block_learns(recipes: Recipes) -> None:
    """From the first step on: several GPUs wait for a gradient of every layer."""
    for form in ("paper", "code"):
        network, method, step = segmenter(recipes("")[0], replace(SHORT, form=form))
        method.loss(dataclasses.replace(step, progress=0.0)).backward()
        assert all(p.grad is not None for p in method.parameters())
        assert all(p.grad is not None for p in network.get_submodule("backbone.stem").parameters())


def test_the_codes_form_is_another_loss(recipes: Recipes) -> None:
    losses = {}
    for form in ("paper", "code"):
        _, method, step = segmenter(recipes("")[0], replace(SHORT, form=form))
        losses[form] = method.loss(step).item()
        method_alone = segmenter(recipes("")[0], replace(SHORT, form=form, regulation_weight=0.0))
        assert losses[form] > method_alone[1].loss(method_alone[2]).item()
    assert losses["paper"] != losses["code"]


def test_nothing_is_left_in_the_network(recipes: Recipes) -> None:
    network, method, step = segmenter(recipes("")[0], SHORT)
    plain = set(build_network("dynamic-small", recipes("")[0].arguments).state_dict())
    assert hooks(network) == 5 and set(network.state_dict()) == plain
    method.loss(step)
    method.finish(network)
    assert hooks(network) == 0 and set(network.state_dict()) == plain
    assert not [m for m in network.modules() if isinstance(m, (ExitHeads, SelfRegulation))]


def test_it_does_not_change_what_the_network_answers(recipes: Recipes) -> None:
    network, method, step = segmenter(recipes("")[0], SHORT)
    network.eval()
    with torch.no_grad():
        watched = network(step.x)
        method.finish(network)
        assert torch.equal(network(step.x), watched)


def test_the_same_seed_gives_the_same_heads(recipes: Recipes) -> None:
    first, second = (segmenter(recipes("")[0], SHORT)[1].state_dict() for _ in range(2))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_classifiers_exits_tell_the_class_of_the_image(
    classifier: Callable[[Settings], tuple[nn.Module, SelfRegulation]],
) -> None:
    """An image is one pixel: 0.2 + 0.8 of the exits' cross entropies."""
    network, method = classifier(replace(SHORT, regulation_weight=0.0))
    x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 3, 9, 3])
    loss = method.loss(Step(x, y, network(x), 1.0))
    loss.backward()
    network(x)
    exits = method.heads(method._taps.take(), network(x))
    assert len(exits) == 4 and all(e.pixels is None for e in exits)
    chances = [softmax(array(e.image), 1) for e in exits]
    expected = -sum(float(np.log(c[np.arange(4), y.numpy()]).mean()) for c in chances)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    taught = classifier(SHORT)
    assert taught[1].loss(Step(x, y, taught[0](x), 1.0)).item() > loss.item()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(SHORT, form="code"), "self_regulation.form: aa-cifar-resnet20 has no logits of pixels"),
        (replace(SHORT, pixel_logits=True), "self_regulation.pixel_logits: aa-cifar-resnet20 has no"),
        (replace(SHORT, points=("layer1",)), "self_regulation.points must be two or more"),
        (replace(SHORT, points=("layer1", "layer9")), "the network has no module 'layer9'"),
        (replace(SHORT, points=("layer1", "fc")), r"fc gives no feature map \[N,C,H,W\] but \[2, 10\]"),
    ],
)
def test_what_the_network_cannot_have_is_refused(
    classifier: Callable[[Settings], tuple[nn.Module, SelfRegulation]], settings: Settings, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        classifier(settings)


def test_points_of_ones_own(classifier: Callable[[Settings], tuple[nn.Module, SelfRegulation]]) -> None:
    network, method = classifier(replace(SHORT, points=("layer2.1", "layer3.2.relu1")))
    x, y = torch.randn(2, 3, 32, 32), torch.tensor([1, 2])
    assert method.loss(Step(x, y, network(x), 1.0)).isfinite()
    assert len(method.heads.projections) == 2 and hooks(network) == 2


def test_mixed_precision_is_close_to_float32(recipes: Recipes) -> None:
    network, method, step = segmenter(recipes("")[0], SHORT)
    exact = method.loss(step).item()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = method.loss(dataclasses.replace(step, logits=network(step.x)))
    assert mixed.dtype == torch.float32 and mixed.item() == pytest.approx(exact, rel=0.05)
