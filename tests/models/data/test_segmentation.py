"""Readers of CamVid, Cityscapes, PASCAL VOC and ImageNet, on tiny folders of the same layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adroit.errors import UsageError
from adroit.models.data.imagenet import read_imagenet
from adroit.models.data.segmentation import CAMVID_CLASSES, READERS, read_camvid, read_cityscapes, read_voc

CAMVID = next((p for p in (Path("../shared/data/camvid"), Path("shared/data/camvid")) if p.is_dir()), None)
HEIGHT, WIDTH = 6, 8


def save_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), value, np.uint8)).save(path)


def save_map(path: Path, labels: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    if palette:
        image = Image.fromarray(labels.astype(np.uint8), mode="P")
        image.putpalette([value for i in range(256) for value in (255 - i, i, 7)])
    image.save(path)


def labels_of(value: int, ignored: int) -> np.ndarray:
    labels = np.full((HEIGHT, WIDTH), value)
    labels[0, :3] = ignored
    return labels


def make_camvid(folder: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        for i in reversed(range(count)):
            save_image(folder / split / "images" / f"frame_{i}.png", 50 * i)
            save_map(folder / split / "labels" / f"frame_{i}.png", labels_of(i, 11))


def make_cityscapes(folder: Path) -> None:
    for i, city in enumerate(["aachen", "bonn"]):
        stem = f"{city}_000000_00001{i}"
        save_image(folder / "leftImg8bit" / "train" / city / f"{stem}_leftImg8bit.png", 50 * i)
        save_map(folder / "gtFine" / "train" / city / f"{stem}_gtFine_labelTrainIds.png", labels_of(i, 255))
        save_map(folder / "gtFine" / "train" / city / f"{stem}_gtFine_labelIds.png", labels_of(30, 0))


def make_voc(folder: Path) -> None:
    for i in range(3):
        save_image(folder / "JPEGImages" / f"2007_00003{i}.jpg", 50 * i)
        save_map(folder / "SegmentationClass" / f"2007_00003{i}.png", labels_of(i, 255), palette=True)
    listing = folder / "ImageSets" / "Segmentation"
    listing.mkdir(parents=True)
    (listing / "train.txt").write_text("2007_000030\n2007_000031\n")


MAKERS = {"camvid": make_camvid, "cityscapes": make_cityscapes, "voc": make_voc}


@pytest.mark.parametrize(
    ("layout", "count", "classes", "ignored"), [("camvid", 3, 11, 11), ("cityscapes", 2, 19, 255), ("voc", 2, 21, 255)]
)
def test_every_layout_pairs_images_with_their_maps(
    tmp_path: Path, layout: str, count: int, classes: int, ignored: int
) -> None:
    MAKERS[layout](tmp_path)
    result = READERS[layout](tmp_path, "train")
    assert (len(result), len(result.class_names), result.ignored) == (count, classes, ignored)
    for i in range(count):
        image, labels = result.load(i)
        assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
        assert int(image[3, 3, 0]) == pytest.approx(50 * i, abs=2)
        np.testing.assert_array_equal(labels, labels_of(i, ignored))
    assert len(result.first(1)) == 1


@pytest.mark.parametrize("layout", list(MAKERS))
def test_a_missing_split_is_named(tmp_path: Path, layout: str) -> None:
    with pytest.raises(UsageError, match="train"):
        READERS[layout](tmp_path, "train")


def test_an_image_without_its_map_is_named(tmp_path: Path) -> None:
    make_camvid(tmp_path)
    (tmp_path / "train" / "labels" / "frame_1.png").unlink()
    with pytest.raises(UsageError, match=r"1 of 3 images have no label map\n.*frame_1"):
        read_camvid(tmp_path, "train")


def test_a_list_that_names_no_image_is_refused(tmp_path: Path) -> None:
    make_voc(tmp_path)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_000030 2007_999999")
    with pytest.raises(UsageError, match="2007_999999"):
        read_voc(tmp_path, "train")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((HEIGHT, WIDTH), 12), "no class: 12"),
        (np.zeros((HEIGHT, WIDTH + 1)), "6 x 9 pixels"),
        (np.zeros((HEIGHT, WIDTH, 3)), "RGB"),
    ],
)
def test_maps_that_do_not_fit_are_refused(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    make_camvid(tmp_path)
    save_map(tmp_path / "val" / "labels" / "frame_0.png", labels)
    with pytest.raises(UsageError, match=message):
        read_camvid(tmp_path, "val").load(0)


def test_a_truncated_map_is_refused(tmp_path: Path) -> None:
    make_camvid(tmp_path)
    path = tmp_path / "val" / "labels" / "frame_0.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UsageError, match="cannot read label map"):
        read_camvid(tmp_path, "val").load(0)


def test_cityscapes_reads_the_training_labels(tmp_path: Path) -> None:
    make_cityscapes(tmp_path)
    assert all("labelTrainIds" in path.name for path in read_cityscapes(tmp_path, "train").maps)


def make_imagenet(folder: Path) -> None:
    for split, classes in (("train", ["n01440764", "n01443537", "n02102040"]), ("val", ["n02102040", "n01440764"])):
        for i, name in enumerate(classes):
            save_image(folder / split / name / f"{name}_{i}.JPEG", 40)


def test_imagenet_labels_are_the_same_in_both_splits(tmp_path: Path) -> None:
    make_imagenet(tmp_path)
    train, held_out = (read_imagenet(tmp_path, split) for split in ("train", "val"))
    assert train.labels is not None and train.labels.tolist() == [0, 1, 2]
    assert held_out.labels is not None and held_out.labels.tolist() == [0, 2]
    assert list(held_out.class_names or ()) == ["n01440764", "n01443537", "n02102040"]
    assert held_out.load(0).shape == (HEIGHT, WIDTH, 3)


def test_imagenet_refuses_a_class_that_train_lacks(tmp_path: Path) -> None:
    make_imagenet(tmp_path)
    save_image(tmp_path / "val" / "n09999999" / "a.JPEG", 1)
    with pytest.raises(UsageError, match="n09999999"):
        read_imagenet(tmp_path, "val")


@pytest.mark.skipif(CAMVID is None, reason="CamVid is not at ../shared/data/camvid")
def test_real_camvid() -> None:
    assert CAMVID is not None
    assert [len(read_camvid(CAMVID, split)) for split in ("train", "val")] == [367, 101]
    seen: set[int] = set()
    train = read_camvid(CAMVID, "train")
    for index in range(0, len(train), 20):
        image, labels = train.load(index)
        assert image.shape == (360, 480, 3)
        seen |= set(np.unique(labels).tolist())
    assert seen == set(range(len(CAMVID_CLASSES) + 1))
