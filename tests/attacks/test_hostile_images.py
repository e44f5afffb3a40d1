"""Images that are none, or not what they seem. See scene.py."""

from __future__ import annotations

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from tests.attacks.scene import Attack, Payload, Scene, meet
from tests.conftest import Adroit


def missing_image_folder(scene: Scene) -> list[object]:
    """A path with a typing error."""
    return ["run", scene.deployment, "--data", scene.folder / "nowhere", "-o", scene.output]


def empty_image_folder(scene: Scene) -> list[object]:
    """A folder whose files are no images."""
    (scene.folder / "empty").mkdir()
    (scene.folder / "empty" / "notes.txt").write_text("no image")
    return ["run", scene.deployment, "--data", scene.folder / "empty", "-o", scene.output]


def unreadable_image(scene: Scene) -> list[object]:
    """A file with an image's name and other content. The others of the folder are fine."""
    folder = scene.folder / "images-folder"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    return ["run", scene.deployment, "--data", folder, "-o", scene.output]


def wrong_channel_count(scene: Scene) -> list[object]:
    """Images with four channels: dropping one silently would give wrong results."""
    path = scene.folder / "four.npz"
    np.savez(path, images=np.zeros((2, 32, 32, 4), np.uint8))
    return ["run", scene.deployment, "--data", path, "-o", scene.output]


def float_images(scene: Scene) -> list[object]:
    """Images already divided by 255: preprocessing them again would give wrong results."""
    path = scene.folder / "float.npz"
    np.savez(path, images=np.zeros((2, 32, 32, 3), np.float32))
    return ["run", scene.deployment, "--data", path, "-o", scene.output]


def archive_with_a_pickle(scene: Scene) -> list[object]:
    """An .npz may hold pickled objects, which NumPy would run."""
    path = scene.folder / "objects.npz"
    np.savez(path, images=np.array([Payload(scene.folder / "owned")], dtype=object), allow_pickle=True)
    return ["run", scene.deployment, "--data", path, "-o", scene.output]


def labels_beyond_the_classes(scene: Scene) -> list[object]:
    """Labels of another data set: an accuracy computed from them would mean nothing."""
    path = scene.folder / "labels.npz"
    np.savez(path, images=np.zeros((2, 32, 32, 3), np.uint8), labels=np.array([1, 10]))
    return ["check", scene.deployment, "--data", path]


ATTACKS = [
    Attack(missing_image_folder, 2),
    Attack(empty_image_folder, 2),
    Attack(unreadable_image, 2),
    Attack(wrong_channel_count, 2),
    Attack(float_images, 2),
    Attack(archive_with_a_pickle, 2),
    Attack(labels_beyond_the_classes, 2),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_attack(attack: Attack, scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    meet(attack, scene, adroit, snapshot)
