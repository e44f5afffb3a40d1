"""Training of segmentation networks, on a tiny data set in CamVid's layout and on CamVid itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

from adroit.errors import UnsupportedModel, UsageError
from adroit.files import sha256
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.data.segmentation import CAMVID_CLASSES, read_camvid
from adroit.models.metrics.segmentation import ConfusionMatrix
from adroit.models.networks.architectures import build_network
from adroit.models.training.learner import learner_of
from adroit.models.training.loop import Epoch, Trained, train
from adroit.models.training.tables import (
    AugmentationRecipe,
    DataRecipe,
    EvaluationRecipe,
    OptimizerRecipe,
    Recipe,
    RoutingRecipe,
)
from adroit.models.training.tasks.segmentation import Segmentation
from tests.models.training.conftest import HEIGHT, VOID, WIDTH, quiet, routed_recipe


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The networks are so small that more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pair(task: Segmentation) -> tuple[torch.Tensor, torch.Tensor]:
    """The first two training images as a batch."""
    x, y = zip(*(task.sample(i, torch.Generator()) for i in (0, 1)), strict=True)
    return torch.stack(x), torch.stack(y)


def test_it_learns_and_the_checkpoint_has_what_deployment_needs(camvid: Path, tmp_path: Path) -> None:
    """Calling every pixel sky reaches less than 0.45."""
    trained = train(routed_recipe(camvid, epochs=25), "", tmp_path / "checkpoint", quiet)
    assert trained.accuracy > 0.7
    network, config = load_checkpoint(tmp_path / "checkpoint")
    assert tuple(config.labels) == CAMVID_CLASSES
    assert config.preprocessing.pad_multiple == 32
    matrix = ConfusionMatrix(11, VOID)
    validation = read_camvid(camvid, "val")
    for i in range(len(validation)):
        image, labels = validation.load(i)
        with torch.no_grad():
            answer = network(torch.from_numpy(config.preprocessing.values(image[None]))).argmax(1)[0].numpy()
        matrix.add(config.preprocessing.unpadded(answer, (HEIGHT, WIDTH)), labels)
    assert config.source["accuracy"] == matrix.mean_intersection_over_union == trained.accuracy
    assert config.source["routes"] in (1, 2)
    assert 0 < config.source["gigaflops"] <= config.source["gigaflops_all_open"]


def test_the_same_seed_gives_the_same_weights(camvid: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(routed_recipe(camvid, seed=seed), "", tmp_path / name, quiet)
    a, b, c = (sha256(tmp_path / name / "model.safetensors") for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(("settled", "expected"), [(0, 2 * 2), (3, 3)])
def test_statistics_are_settled_at_the_end(camvid: Path, tmp_path: Path, settled: int, expected: int) -> None:
    train(routed_recipe(camvid, epochs=2, precise_batch_norm=settled), "", tmp_path / "checkpoint", quiet)
    network, _ = load_checkpoint(tmp_path / "checkpoint")
    seen = {int(value) for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    assert seen == {expected}


def test_the_measure_is_taken_as_often_as_asked(camvid: Path, tmp_path: Path) -> None:
    epochs: list[Epoch] = []
    recipe = replace(routed_recipe(camvid, epochs=5), evaluation=EvaluationRecipe(every=2))
    train(recipe, "", tmp_path / "checkpoint", epochs.append)
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5]
    assert [epoch.number for epoch in epochs if epoch.accuracy is not None] == [2, 4]


def test_gradients_are_clipped(camvid: Path, tmp_path: Path) -> None:
    """One step without momentum and decay moves all weights together by no more than rate times limit."""
    moved = {}
    for limit in (0.0, 0.5):
        settings = {"batch": 6, "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0, "clip_gradient": limit}
        recipe = replace(routed_recipe(camvid, **settings), routing=RoutingRecipe())
        train(recipe, "", tmp_path / str(limit), quiet)
        torch.manual_seed(recipe.seed)
        before = build_network(recipe.architecture, recipe.arguments)
        after, _ = load_checkpoint(tmp_path / str(limit))
        steps = [(a - b).flatten() for a, b in zip(after.parameters(), before.parameters(), strict=True)]
        moved[limit] = float(torch.cat(steps).detach().norm())
    assert moved[0.5] == pytest.approx(0.1 * 0.5, rel=1e-3)
    assert moved[0.0] > 2 * moved[0.5]


def test_adamw_moves_by_the_rate_whatever_the_gradient(camvid: Path, tmp_path: Path) -> None:
    settings = {"method": "adamw", "batch": 6, "learning_rate": 1e-3, "weight_decay": 0.0}
    recipe = replace(routed_recipe(camvid, **settings), routing=RoutingRecipe())
    train(recipe, "", tmp_path / "checkpoint", quiet)
    torch.manual_seed(recipe.seed)
    before = build_network(recipe.architecture, recipe.arguments)
    after, _ = load_checkpoint(tmp_path / "checkpoint")
    moved = torch.cat(
        [(a - b).detach().abs().flatten() for a, b in zip(after.parameters(), before.parameters(), strict=True)]
    )
    assert float(moved.median()) == pytest.approx(1e-3, rel=1e-2)
    assert float(moved.max()) < 1.01e-3


def test_a_routed_network_without_gates_is_trained_too(camvid: Path, tmp_path: Path) -> None:
    recipe = replace(
        routed_recipe(camvid),
        arguments={"depth": 3, "width": 4, "gate": "none", "drop_path": 0.1},
        routing=RoutingRecipe(),
    )
    figures = train(recipe, "", tmp_path / "checkpoint", quiet).figures
    assert figures["routes"] == 1 and figures["gigaflops"] == figures["gigaflops_all_open"]


def test_anti_aliased_deeplab_takes_a_step(camvid: Path) -> None:
    architecture, arguments = "aa-deeplabv3plus-resnet101", {"classes": 11}
    recipe = replace(routed_recipe(camvid), architecture=architecture, arguments=arguments, routing=RoutingRecipe())
    task = Segmentation(recipe)
    torch.manual_seed(0)
    network = build_network(architecture, arguments)
    x, y = pair(task)
    loss = learner_of(network, task, recipe).loss(x, y).task
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert 0 <= task.evaluate(network) <= 1


def test_a_small_image_is_filled_up_with_what_counts_for_nothing(camvid: Path) -> None:
    recipe = replace(routed_recipe(camvid), augmentation=AugmentationRecipe(crop=(64, 64)))
    x, y = pair(Segmentation(recipe))
    assert x.shape == (2, 3, 64, 64) and y.shape == (2, 64, 64)
    assert (y[:, HEIGHT:] == VOID).all() and (x[:, :, HEIGHT:] == 0).all()
    assert (y[:, 1:HEIGHT] != VOID).all()


def test_a_loss_that_is_not_finite_stops_at_once(camvid: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"the loss is \S+ in epoch \d+, step \d+"):
        train(routed_recipe(camvid, 9, learning_rate=1e30, clip_gradient=0.0), "", tmp_path / "checkpoint", quiet)
    assert not (tmp_path / "checkpoint").exists()


def _no_folder(recipe: Recipe, folder: Path) -> Recipe:
    return replace(recipe, data=replace(recipe.data, folder=""))


def _absent_folder(recipe: Recipe, folder: Path) -> Recipe:
    return replace(recipe, data=replace(recipe.data, folder=str(folder / "absent")))


def _strange_label(recipe: Recipe, folder: Path) -> Recipe:
    Image.fromarray(np.full((HEIGHT, WIDTH), 12, np.uint8)).save(folder / "train" / "labels" / "2.png")
    return recipe


def _other_classes(recipe: Recipe, folder: Path) -> Recipe:
    return replace(recipe, arguments={**recipe.arguments, "classes": 19})


def _other_size(recipe: Recipe, folder: Path) -> Recipe:
    for kind, shape in (("images", (HEIGHT, 40, 3)), ("labels", (HEIGHT, 40))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(folder / "train" / kind / "4.png")
    return replace(recipe, augmentation=AugmentationRecipe())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_folder, "the recipe has no data.folder"),
        (_absent_folder, "there is no CamVid split at .*absent"),
        (_strange_label, r"2\.png has values that are no class: 12"),
        (_other_classes, "camvid has 11 classes, and the network 19"),
        (_other_size, r"4\.png is not of the first image's size"),
    ],
)
def test_wrong_data_is_one_clear_error(
    spoil: Callable[[Recipe, Path], Recipe], message: str, camvid: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        train(spoil(routed_recipe(camvid), camvid), "", tmp_path / "checkpoint", quiet)


@pytest.fixture(scope="session")
def trained_on_camvid(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small fraction of our recipe's training."""
    folder = shared_data / "camvid"
    if not folder.is_dir():
        pytest.skip(f"CamVid is not here: {folder}")
    recipe = Recipe(
        "dynamic-small",
        DataRecipe("camvid", str(folder)),
        OptimizerRecipe(4, 8, 0.05, weight_decay=1e-4, schedule="poly", clip_gradient=5.0, precise_batch_norm=10),
        augmentation=AugmentationRecipe(crop=(128, 160), flip=True),
        routing=RoutingRecipe(0.5, 0.3),
        evaluation=EvaluationRecipe(every=4),
    )
    return train(recipe, "", tmp_path_factory.mktemp("camvid") / "checkpoint", quiet)


def test_camvid_figures(trained_on_camvid: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    figures = trained_on_camvid.figures
    with capsys.disabled():
        print(
            f"\nCamVid, 4 epochs: mIoU {trained_on_camvid.accuracy:.3f}, {figures['routes']:.0f} routes,"
            f" {figures['gigaflops']:.3f} of {figures['gigaflops_all_open']:.3f} GFLOPs on average"
        )
    # Calling every pixel building reaches 0.03.
    assert trained_on_camvid.accuracy > 0.12
    assert figures["gigaflops"] < figures["gigaflops_all_open"]
