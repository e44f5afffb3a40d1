"""What cannot become a deployment in 8 bits. See scene.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from deploy.entry import Entry
from deploy.export.entry import export_entry
from deploy.operators import DOMAIN
from deploy.quantize.quantize import quantise_entry
from models.data.images import read_images
from tests.attacks.scene import Attack, Scene, meet
from tests.conftest import Adroit, make_checkpoint


def _quantise(entry: Path, scene: Scene, *options: object) -> list[object]:
    return ["quantize", entry, "--data", scene.images, "-o", scene.output, *options]


def quantise_a_portable_deployment(scene: Scene) -> list[object]:
    """Its adder layers are spelt out in standard operators, and nothing tells them from other arithmetic."""
    return _quantise(export_entry(scene.checkpoint, scene.folder, "portable", "portable").path, scene)


def quantise_a_network_without_adder_layers(scene: Scene) -> list[object]:
    """The same network of ordinary convolutions: writing it out unchanged would look like success."""
    checkpoint = make_checkpoint(scene.folder / "ordinary", "adder-lenet5-bn", (32, 32), kind="ordinary")
    return _quantise(export_entry(checkpoint, scene.folder / "repository").path, scene)


def quantise_twice(scene: Scene) -> list[object]:
    """Ranges of ranges: the second one would add its error to the first's."""
    made = quantise_entry(Entry.read(scene.entry), read_images(scene.images).first(2), "images", scene.folder, "once")
    return _quantise(made.entry.path, scene)


def quantise_with_an_unknown_layer(scene: Scene) -> list[object]:
    """A misspelt layer would be quantised though the user wants it in float32."""
    return _quantise(scene.entry, scene, "--keep-float", "features.O")


def quantise_nothing(scene: Scene) -> list[object]:
    """Every layer kept: the copy would be no 8-bit network, though it says so."""
    nodes = Entry.read(scene.entry).load_model().graph.node
    return _quantise(scene.entry, scene, *(f"--keep-float={n.name}" for n in nodes if n.domain == DOMAIN))


def quantise_with_an_empty_folder(scene: Scene) -> list[object]:
    """No image, no range."""
    (scene.folder / "empty").mkdir()
    return ["quantize", scene.entry, "--data", scene.folder / "empty", "-o", scene.output]


def quantise_over_a_folder_of_the_users(scene: Scene) -> list[object]:
    """As for an export."""
    folder = scene.output / "thesis"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("irreplaceable")
    return _quantise(scene.entry, scene, "--name", "thesis")


def build_8_bits_for_tensorrt(scene: Scene) -> list[object]:
    """TensorRT has no uint8 arithmetic: what it would build is another network."""
    made = quantise_entry(Entry.read(scene.entry), read_images(scene.images).first(2), "images", scene.folder, "once")
    return ["build", made.entry.path, "--backend", "tensorrt-rtx", "--compute-capability", "89"]


ATTACKS = [
    Attack(quantise_a_portable_deployment, 6),
    Attack(quantise_a_network_without_adder_layers, 6),
    Attack(quantise_twice, 2),
    Attack(quantise_with_an_unknown_layer, 2),
    Attack(quantise_nothing, 2),
    Attack(quantise_with_an_empty_folder, 2),
    Attack(quantise_over_a_folder_of_the_users, 2),
    Attack(build_8_bits_for_tensorrt, 6),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_attack(attack: Attack, scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    meet(attack, scene, adroit, snapshot)
