"""Folders of images and the classes that they are: what is matched, what is said, what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adroit.errors import AdroitWarning, UsageError
from adroit.models.data.class_folders import match_classes
from adroit.models.data.images import read_images

LABELS = ["airplane", "automobile", "bird", "cat", "ice cream"]


def folders(place: Path, names: Sequence[str]) -> Path:
    for name in names:
        (place / name).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(place / name / "1.png")
    return place


def labels_of(place: Path, labels: Sequence[str] | None, classes: int | None = None) -> list[int]:
    images = read_images(place, labels, classes)
    assert images.labels is not None
    return images.labels.tolist()


def test_names_of_labels_are_matched_without_a_word(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert labels_of(folders(tmp_path, ["bird", "airplane"]), LABELS) == [0, 2]


@pytest.mark.parametrize("name", ["Bird", "birds", "BIRDS", " bird"])
def test_case_and_plural_are_forgiven_and_said(tmp_path: Path, name: str) -> None:
    with pytest.warns(AdroitWarning, match=f"'{name}' .* is taken for the class 'bird'"):
        assert labels_of(folders(tmp_path, [name]), LABELS) == [2]


def test_spaces_and_synonyms_are_forgiven() -> None:
    indices, notes = match_classes(["ice_cream", "auto"], ["Ice cream", "automobile, auto"], 2, "photos")
    assert indices == {"ice_cream": 0, "auto": 1}
    assert len(notes) == 2


def test_accents_match_however_the_file_system_writes_them() -> None:
    assert match_classes(["e\u0301clair"], ["\u00e9clair", "bun"], 2, "photos") == ({"e\u0301clair": 0}, [])


def test_a_folder_that_is_no_class_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the network's labels: car") as caught:
        read_images(folders(tmp_path, ["airplane", "car"]), LABELS)
    assert "name each folder as its label" in (caught.value.hint or "")


def test_two_folders_of_one_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="several folders of class 3: Cat, cats"):
        read_images(folders(tmp_path, ["Cat", "cats"]), LABELS)


def test_a_folder_that_could_be_two_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="none of the network's labels: SEAL"):
        match_classes(["SEAL"], ["seal", "Seal"], 2, "photos")


def test_numbers_are_the_numbers_of_classes(tmp_path: Path) -> None:
    place = folders(tmp_path, [str(number) for number in range(11)])
    with pytest.warns(AdroitWarning, match="numbers of classes"):
        assert labels_of(place, None, 11) == list(range(11))
    with pytest.raises(UsageError, match="numbers that are no class: 5, 6"):
        match_classes(["4", "5", "6"], LABELS, 5, "photos")


def test_labels_that_are_numbers_are_names() -> None:
    assert match_classes(["10", "2"], ["2", "10"], 2, "photos")[0] == {"10": 1, "2": 0}


def test_without_labels_a_folder_for_each_class_is_taken_in_alphabetical_order_and_said(tmp_path: Path) -> None:
    place = folders(tmp_path, ["b", "a", "c"])
    with pytest.warns(AdroitWarning, match="alphabetical order"):
        assert labels_of(place, None, 3) == [0, 1, 2]
    with pytest.raises(UsageError, match="has 3 class folders, and the network has 10 classes"):
        read_images(place, None, 10)


def test_the_identifiers_of_imagenet_are_its_classes() -> None:
    indices, notes = match_classes(["n01443537", "n01440764"], ["tench", "goldfish"], 2, "val")
    assert indices == {"n01440764": 0, "n01443537": 1}
    assert len(notes) == 1
    with pytest.raises(UsageError, match="none of the network's labels: n01443537"):
        match_classes(["n01443537"], ["tench", "goldfish"], 2, "val")


def test_hidden_files_and_folders_are_no_data(tmp_path: Path) -> None:
    folders(tmp_path, ["cat", ".ipynb_checkpoints", "__MACOSX"])
    (tmp_path / "cat" / "._1.png").write_bytes(b"\0\5\x16\7")
    images = read_images(tmp_path, LABELS)
    assert (list(images.names), images.labels is not None and images.labels.tolist()) == (["cat/1.png"], [3])


def test_loose_images_beside_class_folders_are_refused(tmp_path: Path) -> None:
    folders(tmp_path, ["cat"])
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "loose.png")
    with pytest.raises(UsageError, match=r"holds 1 images beside folders of images \(cat\)"):
        read_images(tmp_path, LABELS)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    folders(tmp_path, ["cat"])
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "drafts").mkdir()
    with pytest.warns(AdroitWarning) as said:
        read_images(tmp_path, LABELS)
    texts = [str(warning.message) for warning in said]
    assert any("files that are no images are left out: notes.txt" in text for text in texts)
    assert any("folders without an image are left out: drafts" in text for text in texts)


def test_images_are_known_by_their_content(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "picture", "PNG")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "photo.jfif", "JPEG")
    np.savez(tmp_path / "data.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    (tmp_path / "data.npz").rename(tmp_path.parent / "archive")
    assert list(read_images(tmp_path).names) == ["photo.jfif", "picture"]
    assert len(read_images(tmp_path.parent / "archive")) == 2


def test_folders_that_only_group_images_need_no_names(tmp_path: Path) -> None:
    images = read_images(folders(tmp_path, ["monday", "tuesday"]), LABELS, grouped=True)
    assert (list(images.names), images.labels) == (["monday/1.png", "tuesday/1.png"], None)
