"""Places that cannot be written, or must not be. See scene.py."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from adroit import files
from adroit.deploy.export.deployment import export_deployment
from adroit.errors import OutOfResource
from tests.attacks.scene import Attack, Scene, meet
from tests.conftest import Adroit


def unwritable_output(scene: Scene) -> list[object]:
    """A path below a file. Permissions would not stop the superuser, as whom containers run."""
    (scene.folder / "file").write_text("in the way")
    return ["run", scene.deployment, "--data", scene.images, "-o", scene.folder / "file" / "out.npz"]


def unwritable_repository(scene: Scene) -> list[object]:
    """The same for a folder that is written as a whole."""
    (scene.folder / "file").write_text("in the way")
    return ["export", scene.checkpoint, "-o", scene.folder / "file" / "repository"]


def output_over_a_folder_of_the_users(scene: Scene) -> list[object]:
    """The name of a folder that is no deployment: replacing it would lose the user's files."""
    folder = scene.folder / "repository" / "adder-lenet5-bn"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("irreplaceable")
    return ["export", scene.checkpoint, "-o", scene.folder / "repository"]


def name_outside_the_repository(scene: Scene) -> list[object]:
    """A name that climbs out of the repository."""
    return ["export", scene.checkpoint, "-o", scene.output, "--name", "../../escaped"]


ATTACKS = [
    Attack(unwritable_output, 2),
    Attack(unwritable_repository, 2),
    Attack(output_over_a_folder_of_the_users, 2),
    Attack(name_outside_the_repository, 2),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_attack(attack: Attack, scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    meet(attack, scene, adroit, snapshot)


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lenet_checkpoint: Path
) -> None:
    real = files.write_bytes

    def full(path: Path, data: bytes) -> None:
        if path.name == "model.onnx":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(OutOfResource, match="disk is full"):
        export_deployment(lenet_checkpoint, tmp_path / "repository")
    assert list((tmp_path / "repository").iterdir()) == []
