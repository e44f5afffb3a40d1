"""Data from the field: what is in a folder, how large an image is, what a label file holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import export_deployment
from tests.conftest import Adroit, make_checkpoint


def photograph(path: Path, size: tuple[int, int] = (32, 32), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_misnamed_class_folder_ends_the_check(adroit: Adroit, lenet_deployment: Deployment, tmp_path: Path) -> None:
    for name in ("class 0", "class 1", "klass 2"):
        photograph(tmp_path / name / "1.png")
    result = adroit("check", lenet_deployment.path, "--data", tmp_path)
    assert result.code == 2
    assert "none of the network's labels: klass 2" in result.err and "klass 2 for class 2" in result.err


def test_folders_in_other_case_are_taken_and_said(
    adroit: Adroit, resnet_deployment: Deployment, tmp_path: Path
) -> None:
    for index, name in enumerate(("Class 0", "class 1")):
        photograph(tmp_path / name / "1.png", seed=index)
    photograph(tmp_path / ".ipynb_checkpoints" / "1.png")
    (tmp_path / "class 1" / "._1.png").write_bytes(b"\0\5\x16\7")
    result = adroit("check", resnet_deployment.path, "--data", tmp_path)
    assert result.code == 0, result.err
    assert "note: the folder 'Class 0'" in result.err
    assert "top-1 accuracy" in result.out and "2 images" in result.out


def test_folders_of_images_are_run_whatever_they_are_called(
    adroit: Adroit, lenet_deployment: Deployment, tmp_path: Path
) -> None:
    photograph(tmp_path / "monday" / "1.png")
    result = adroit("run", lenet_deployment.path, "--data", tmp_path, "--top", 1)
    assert (result.code, result.out.partition(":")[0]) == (0, "monday/1.png")


def test_a_large_photograph_becomes_the_networks_size(
    adroit: Adroit, resnet_deployment: Deployment, tmp_path: Path
) -> None:
    photo = photograph(tmp_path / "photo.jpg", (300, 400))
    outputs = tmp_path / "outputs.npz"
    assert adroit("run", resnet_deployment.path, "--data", photo, "-o", outputs).code == 0
    small = Image.open(photo).resize((42, 32), Image.Resampling.BILINEAR).crop((5, 0, 37, 32))
    small.save(tmp_path / "small.png")
    assert (
        adroit("run", resnet_deployment.path, "--data", tmp_path / "small.png", "-o", tmp_path / "small.npz").code == 0
    )
    with np.load(outputs) as large, np.load(tmp_path / "small.npz") as expected:
        np.testing.assert_array_equal(large["logits"], expected["logits"])


@pytest.mark.parametrize(
    "content", ["\ufeffone\ntwo\n".encode(), b" one \r\ntwo\r\n\r\n", "one\ntwo".encode("utf-16"), b"\none\ntwo\n\n"]
)
def test_labels_are_read_as_editors_write_them(adroit: Adroit, tmp_path: Path, content: bytes) -> None:
    import torch

    from adroit.models.networks.architectures import build_network

    torch.save(build_network("adder-lenet5-bn", {"classes": 2}).state_dict(), tmp_path / "published.pth")
    (tmp_path / "labels.txt").write_bytes(content)
    arguments = ("adder-lenet5-bn", tmp_path / "published.pth", "-o", tmp_path / "out", "--classes", 2)
    result = adroit("import", *arguments, "--labels", tmp_path / "labels.txt")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "out" / "config.json").read_text())["labels"] == ["one", "two"]


def test_a_recipe_with_a_byte_order_mark_is_read(adroit: Adroit, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes("\ufeffarchitecture = 'adder-lenet5-bn'\nepochs = 'many'\n".encode())
    result = adroit("train", tmp_path / "mine.toml", "-o", tmp_path / "out")
    assert result.code == 2
    assert "epochs" in result.err and "not TOML" not in result.err


def test_weights_that_overflow_when_folded_name_the_layer(
    adroit: Adroit, tmp_path: Path, resnet_checkpoint: Path
) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint = tmp_path / "huge"
    shutil.copytree(resnet_checkpoint, checkpoint)
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["fc.weight"] = tensors["fc.weight"].sign() * 3e38
    save_file(tensors, checkpoint / "model.safetensors")
    result = adroit("export", checkpoint, "-o", tmp_path)
    assert (result.code, (tmp_path / "adder-resnet20").exists()) == (6, False)
    assert "the weights of the layer fc leave the range of float32" in result.err
    assert "largest weight" in result.err and "3e+38" in result.err


def test_logits_that_are_not_finite_name_the_layer(adroit: Adroit, tmp_path: Path) -> None:
    source = tmp_path / "net.py"
    source.write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.stem = torch.nn.Conv2d(3, 4, 3)\n"
        "        self.head = torch.nn.Conv2d(4, 2, 3)\n"
        "        torch.nn.init.constant_(self.stem.weight, 3e37)\n"
        "    def forward(self, x):\n"
        "        return torch.relu(self.head(torch.relu(self.stem(x)))).mean((2, 3))\n"
    )
    assert adroit("export", f"{source}:Net", "--size", "16x16", "-o", tmp_path).code == 0
    photo = photograph(tmp_path / "photo.png", (16, 16))
    result = adroit("run", tmp_path / "Net", "--data", photo, "--top", 1)
    assert (result.code, result.out) == (6, "")
    assert "the output output0 is not finite for photo.png" in result.err
    assert "the layer stem (Conv) is the first with infinite values" in result.err


@pytest.fixture(scope="module")
def segmentation(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    folder = tmp_path_factory.mktemp("segmentation")
    checkpoint = make_checkpoint(folder / "checkpoint", "dynamic-small", (128, 128), depth=3)
    return export_deployment(checkpoint, folder)


def test_a_segmentation_gives_shares_and_a_map(adroit: Adroit, segmentation: Deployment, tmp_path: Path) -> None:
    photo = photograph(tmp_path / "photo.png", (120, 130))
    result = adroit("run", segmentation.path, "--data", photo, "--top", 2, "-o", tmp_path / "map.png")
    assert result.code == 0, result.err
    assert result.out.startswith("photo.png: class ")
    with Image.open(tmp_path / "map.png") as picture:
        assert (picture.mode, picture.size) == ("P", (130, 120))
        classes = np.asarray(picture)
    label, share = result.out.partition(": ")[2].split(", ")[0].rsplit(" ", 1)
    assert share.strip() == f"{np.bincount(classes.ravel()).max() / classes.size:.1%}"
    assert label == f"class {np.bincount(classes.ravel()).argmax()}"


def test_outputs_have_the_size_of_the_image_without_padding(
    adroit: Adroit, segmentation: Deployment, tmp_path: Path
) -> None:
    photo = photograph(tmp_path / "photo.png", (120, 130))
    assert adroit("run", segmentation.path, "--data", photo, "-o", tmp_path / "out.npz").code == 0
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["logits"].shape[2:] == (120, 130)


def test_a_map_holds_one_image(adroit: Adroit, segmentation: Deployment, tmp_path: Path) -> None:
    for index in range(2):
        photograph(tmp_path / "photos" / f"{index}.png", (128, 128))
    result = adroit("run", segmentation.path, "--data", tmp_path / "photos", "-o", tmp_path / "map.png")
    assert (result.code, (tmp_path / "map.png").exists()) == (2, False)
    assert "classes of one image" in result.err


def test_classes_of_images_are_passed_over_by_a_segmentation(
    adroit: Adroit, segmentation: Deployment, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", images=random.integers(0, 256, (2, 128, 128, 3), np.uint8), labels=np.array([0, 1]))
    result = adroit("check", segmentation.path, "--data", tmp_path / "d.npz")
    assert result.code == 0, result.err
    assert "note: the class of each image is passed over" in result.err


def test_maps_of_many_classes_keep_their_numbers(tmp_path: Path) -> None:
    from adroit.api.opened import RunResult
    from adroit.errors import UsageError

    logits = np.zeros((1, 300, 2, 2), np.float32)
    logits[0, 299] = 1
    result = RunResult(["photo.png"], {"logits": [logits]}, [], "segmentation")
    assert result.shares()[0][0].label == "299"
    with pytest.raises(UsageError, match="256 classes at most"):
        result.save(tmp_path / "map.png")
