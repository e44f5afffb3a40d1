"""Wrong input to what knows of routes: one clear error each, the right exit code, no traceback, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from adroit.deploy.cli.main import main
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import export_deployment
from adroit.models.checkpoints.checkpoint import CheckpointConfig, save_checkpoint
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.routing.route import Route
from adroit.models.routing.space import RoutingSpace
from tests.models.networks.routed import routed_network


@dataclass(frozen=True)
class Scene:
    """What an attack may use: an empty folder, a routed deployment with its checkpoint, one that has no routes."""

    folder: Path
    checkpoint: Path
    routed: Path
    unrouted: Path

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def images(self, height: int, width: int) -> Path:
        path = self.folder / "images.npz"
        np.savez(path, images=np.zeros((2, height, width, 3), np.uint8))
        return path


def empty_image_folder(scene: Scene) -> list[object]:
    """Statistics of nothing would be divisions by zero."""
    (scene.folder / "empty").mkdir()
    return ["profile", scene.routed, "--data", scene.folder / "empty", "--html", scene.output]


def images_too_small_for_the_deepest_map(scene: Scene) -> list[object]:
    """At 1/32 they have 2 x 4 pixels, of which a small gate cannot make one. Runtimes have their own words for it."""
    return ["routes", scene.routed, "--data", scene.images(64, 128), "-o", scene.output]


def images_too_small_to_profile(scene: Scene) -> list[object]:
    """The same, met before anything is measured."""
    return ["profile", scene.routed, "--data", scene.images(64, 128)]


def routes_of_a_network_without_a_routing_space(scene: Scene) -> list[object]:
    """An adder network has no routes to draw."""
    return ["routes", scene.unrouted, "--data", scene.images(32, 32)]


def routes_of_a_network_without_gates(scene: Scene) -> list[object]:
    """All its images take one route: statistics of it would look like a finding."""
    fixed = routed_network(3, 8, "none")
    arguments = {"depth": 3, "width": 8, "gate": "none", "classes": 5}
    save_checkpoint(
        scene.folder / "fixed", fixed.float(), CheckpointConfig("dynamic-small", Preprocessing(), arguments)
    )
    deployment = export_deployment(scene.folder / "fixed", scene.folder, "deployed")
    return ["routes", deployment.path, "--data", scene.images(128, 128)]


def route_of_another_network(scene: Scene) -> list[object]:
    """Node names of a deeper network mean other nodes here."""
    path = scene.folder / "route.json"
    path.write_text(json.dumps(Route.all_open(RoutingSpace(16, 64)).to_json()))
    return ["export", scene.checkpoint, "-o", scene.output, "--route", path]


def replay_of_another_networks_route(scene: Scene) -> list[object]:
    """The same met at a replay."""
    path = scene.folder / "route.json"
    path.write_text(json.dumps(Route.none(RoutingSpace(5, 8)).to_json()))
    return ["routes", scene.routed, "--data", scene.images(128, 128), "--route", path]


def route_that_is_no_route(scene: Scene) -> list[object]:
    """Any JSON, such as the report beside it."""
    path = scene.folder / "route.json"
    path.write_text('{"routes": []}')
    return ["export", scene.checkpoint, "-o", scene.output, "--route", path]


def route_that_is_not_there(scene: Scene) -> list[object]:
    """A misspelt topology must not be taken for a file's name without a word."""
    return ["export", scene.checkpoint, "-o", scene.output, "--route", "u-net"]


def topology_in_too_shallow_a_network(scene: Scene) -> list[object]:
    """Four layers cannot go down to 1/32 and back."""
    return ["export", scene.checkpoint, "-o", scene.output, "--route", "u-net-like"]


def common_route_without_images(scene: Scene) -> list[object]:
    """A common route needs images that it is common to."""
    return ["export", scene.checkpoint, "-o", scene.output, "--route", "common"]


def image_that_is_not_there(scene: Scene) -> list[object]:
    """One misspelt name among others."""
    return ["routes", scene.routed, scene.folder / "nowhere.png"]


def diagrams_below_a_file(scene: Scene) -> list[object]:
    """A folder that cannot be written, since a file is in its place."""
    (scene.folder / "file").write_text("in the way")
    return ["routes", scene.routed, "--data", scene.images(128, 128), "-o", scene.folder / "file" / "diagrams"]


ATTACKS = [
    empty_image_folder,
    images_too_small_for_the_deepest_map,
    images_too_small_to_profile,
    routes_of_a_network_without_a_routing_space,
    routes_of_a_network_without_gates,
    route_of_another_network,
    replay_of_another_networks_route,
    route_that_is_no_route,
    route_that_is_not_there,
    topology_in_too_shallow_a_network,
    common_route_without_images,
    image_that_is_not_there,
    diagrams_below_a_file,
]


@pytest.fixture
def scene(tmp_path: Path, checkpoint: Path, deployments: dict[str, Deployment], lenet_deployment: Deployment) -> Scene:
    folder = tmp_path / "scene"
    folder.mkdir()
    return Scene(folder, checkpoint, deployments["if"].path, lenet_deployment.path)


def _listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.__name__.replace("_", " "))
def test_attack(
    attack: Callable[[Scene], list[object]],
    scene: Scene,
    capsys: pytest.CaptureFixture[str],
    snapshot: SnapshotAssertion,
) -> None:
    command = attack(scene)
    before = _listing(scene.folder)
    with pytest.raises(SystemExit) as exit_:  # in this process: a new one would spend its time on imports
        main([str(argument) for argument in command])
    output = capsys.readouterr().err
    assert exit_.value.code == 2, output
    assert "Traceback" not in output and "error: " in output
    assert _listing(scene.folder) == before
    # Progress before the error depends on the machine.
    message = output[output.index("error: ") :]
    for path, name in ((scene.folder, "FOLDER"), (scene.routed, "DEPLOYMENT"), (scene.unrouted, "UNROUTED")):
        message = message.replace(str(path), name)
    assert message == snapshot
