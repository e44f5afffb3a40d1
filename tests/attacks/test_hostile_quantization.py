"""What cannot become a deployment in 8 bits. See scene.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import export_deployment
from adroit.deploy.operators.definitions import DOMAIN
from adroit.deploy.quantize.quantize import quantize_deployment
from adroit.models.data.images import read_images
from tests.attacks.scene import Attack, Scene, meet
from tests.conftest import Adroit, make_checkpoint


def _quantize(deployment: Path, scene: Scene, *options: object) -> list[object]:
    return ["quantize", deployment, "--data", scene.images, "-o", scene.output, *options]


def quantize_a_portable_deployment(scene: Scene) -> list[object]:
    """Its adder layers are spelt out in standard operators, and nothing tells them from other arithmetic."""
    return _quantize(export_deployment(scene.checkpoint, scene.folder, "portable", "portable").path, scene)


def quantize_a_network_without_adder_layers(scene: Scene) -> list[object]:
    """The same network of ordinary convolutions: writing it out unchanged would look like success."""
    checkpoint = make_checkpoint(scene.folder / "ordinary", "adder-lenet5-bn", (32, 32), kind="ordinary")
    return _quantize(export_deployment(checkpoint, scene.folder / "repository").path, scene)


def quantize_twice(scene: Scene) -> list[object]:
    """Ranges of ranges: the second one would add its error to the first's."""
    quantized = quantize_deployment(
        Deployment.read(scene.deployment), read_images(scene.images).first(2), "images", scene.folder, "once"
    )
    return _quantize(quantized.deployment.path, scene)


def quantize_with_an_unknown_layer(scene: Scene) -> list[object]:
    """A misspelt layer would be quantized though the user wants it in float32."""
    return _quantize(scene.deployment, scene, "--keep-float", "features.O")


def quantize_nothing(scene: Scene) -> list[object]:
    """Every layer kept: the copy would be no 8-bit network, though it says so."""
    nodes = Deployment.read(scene.deployment).load_model().graph.node
    return _quantize(scene.deployment, scene, *(f"--keep-float={n.name}" for n in nodes if n.domain == DOMAIN))


def quantize_with_an_empty_folder(scene: Scene) -> list[object]:
    """No image, no range."""
    (scene.folder / "empty").mkdir()
    return ["quantize", scene.deployment, "--data", scene.folder / "empty", "-o", scene.output]


def quantize_over_a_folder_of_the_users(scene: Scene) -> list[object]:
    """As for an export."""
    folder = scene.output / "thesis"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("irreplaceable")
    return _quantize(scene.deployment, scene, "--name", "thesis")


def build_8_bits_for_tensorrt(scene: Scene) -> list[object]:
    """TensorRT has no uint8 arithmetic: what it would build is another network."""
    quantized = quantize_deployment(
        Deployment.read(scene.deployment), read_images(scene.images).first(2), "images", scene.folder, "once"
    )
    return ["build", quantized.deployment.path, "--backend", "tensorrt-rtx", "--compute-capability", "89"]


ATTACKS = [
    Attack(quantize_a_portable_deployment, 6),
    Attack(quantize_a_network_without_adder_layers, 6),
    Attack(quantize_twice, 2),
    Attack(quantize_with_an_unknown_layer, 2),
    Attack(quantize_nothing, 2),
    Attack(quantize_with_an_empty_folder, 2),
    Attack(quantize_over_a_folder_of_the_users, 2),
    Attack(build_8_bits_for_tensorrt, 6),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_attack(attack: Attack, scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    meet(attack, scene, adroit, snapshot)
