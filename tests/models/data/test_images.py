"""DATA as every command takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adroit.errors import UsageError
from adroit.models.data.digits import read_digits
from adroit.models.data.images import read_images
from adroit.models.data.preprocessing import IMAGENET, Preprocessing


def save(path: Path, value: int, size: tuple[int, int] = (4, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def test_one_image(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 7)
    images = read_images(tmp_path / "a.png")
    assert list(images.names) == ["a.png"]
    assert images.labels is None
    assert images.load(0).shape == (4, 6, 3)
    assert (images.load(0) == 7).all()


def test_flat_folder_in_the_order_of_names(tmp_path: Path) -> None:
    for name, value in (("b.png", 2), ("a.png", 1), ("c.JPG", 3)):
        save(tmp_path / name, value)
    (tmp_path / "notes.txt").write_text("not an image")
    images = read_images(tmp_path)
    assert list(images.names) == ["a.png", "b.png", "c.JPG"]
    assert images.load(1)[0, 0, 0] == 2


def test_class_folders_give_labels_by_the_networks_class_names(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "1.png", 1)
    save(tmp_path / "dog" / "1.png", 2)
    by_alphabet, by_network = read_images(tmp_path), read_images(tmp_path, ["dog", "bird", "cat"])
    assert by_alphabet.labels is not None and by_network.labels is not None
    assert by_alphabet.labels.tolist() == [0, 1]
    assert by_network.labels.tolist() == [2, 0]
    assert list(by_network.names) == ["cat/1.png", "dog/1.png"]


def test_archive_and_its_parts(tmp_path: Path) -> None:
    x = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    np.savez(tmp_path / "d.npz", images=x, labels=np.array([4, 5]), test_images=x[:1])
    images = read_images(tmp_path / "d.npz")
    assert images.labels is not None
    assert images.labels.tolist() == [4, 5]
    assert (images.load(1) == x[1]).all()
    part = read_images(f"{tmp_path / 'd.npz'}:test")
    assert len(part) == 1
    assert part.labels is None
    with pytest.raises(UsageError, match="no array named train_images"):
        read_images(f"{tmp_path / 'd.npz'}:train")


def test_sizes_are_read_without_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "folder" / "a.png", 7)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "folder" / "b.jpg", exif=turned)
    np.savez(tmp_path / "d.npz", images=np.zeros((2, 3, 5, 3), np.uint8))
    folder, archive = read_images(tmp_path / "folder"), read_images(tmp_path / "d.npz")
    for images in (folder, archive, folder.first(1), read_images(tmp_path / "folder" / "b.jpg")):
        assert [images.size(i) for i in range(len(images))] == [images.load(i).shape[:2] for i in range(len(images))]
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "load", None)
        assert [folder.size(i) for i in range(2)] == [(4, 6), (6, 4)]
    (tmp_path / "folder" / "a.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match="cannot read image"):
        folder.size(0)


def test_gray_and_transparent_files_become_three_channels(tmp_path: Path) -> None:
    Image.fromarray(np.full((5, 5), 9, np.uint8)).save(tmp_path / "gray.png")
    Image.fromarray(np.full((5, 5, 4), 9, np.uint8)).save(tmp_path / "rgba.png")
    images = read_images(tmp_path)
    assert [images.load(i).shape for i in range(2)] == [(5, 5, 3)] * 2


def test_batches_hold_images_of_one_shape_in_order(tmp_path: Path) -> None:
    sizes = [(4, 4), (4, 4), (4, 4), (6, 4), (4, 4)]
    for i, size in enumerate(sizes):
        save(tmp_path / f"{i}.png", i, size)
    result = [(w.start, w.stop, x.shape) for w, x in read_images(tmp_path).batches(Preprocessing(), 2)]
    assert result == [(0, 2, (2, 3, 4, 4)), (2, 3, (1, 3, 4, 4)), (3, 4, (1, 3, 6, 4)), (4, 5, (1, 3, 4, 4))]


def test_digits_are_split_into_four_fifths_and_one() -> None:
    training, held_out = read_digits()
    assert (len(training), len(held_out)) == (1438, 359)
    assert training.load(0).shape == (8, 8, 3)
    assert max(training.load(i).max() for i in range(20)) == 255


def test_values_follow_the_formula() -> None:
    image = np.array([[[10, 20, 30]]], np.uint8)[None]
    steps = {"divisor": 2.0, "mean": (1.0, 2.0, 3.0), "std": (2.0, 4.0, 8.0)}
    assert Preprocessing(**steps).values(image).ravel().tolist() == [2.0, 2.0, 1.5]
    assert Preprocessing(channels="bgr", **steps).values(image).ravel().tolist() == [7.0, 2.0, 0.25]
    gray = Preprocessing(channels="gray", divisor=1.0, mean=(0.0,), std=(1.0,)).values(image)
    assert gray.shape == (1, 1, 1, 1)
    assert gray.item() == pytest.approx(0.299 * 10 + 0.587 * 20 + 0.114 * 30)


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (256, 256), (224, 500)])
def test_imagenet_geometry(size: tuple[int, int]) -> None:
    assert IMAGENET.geometry(np.zeros((*size, 3), np.uint8)).shape == (224, 224, 3)


def test_an_image_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises(UsageError, match="smaller than the crop"):
        Preprocessing(crop=(8, 8)).geometry(np.zeros((7, 9, 3), np.uint8))


def test_preprocessing_survives_json() -> None:
    assert Preprocessing.from_json(IMAGENET.to_json()) == IMAGENET
    with pytest.raises(UsageError, match="sharpen is not a field"):
        Preprocessing.from_json({"sharpen": 1})
    with pytest.raises(UsageError, match=r"preprocessing: mean must have a value for each of 3 channels, and has 1"):
        Preprocessing.from_json({"mean": [0.5]})
