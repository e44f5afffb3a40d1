"""Budgets that cannot be kept, and tables that do not hold. See scene.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.attacks.scene import Attack, Scene, copied_deployment, meet
from tests.conftest import Adroit


def _routed_deployment(scene: Scene, **changes: object) -> Path:
    """A copy of the deployment whose description says that it is a routed network; for what reads no model."""
    deployment = copied_deployment(scene)
    description = json.loads((deployment / "adroit.json").read_text())
    description["routing"] = {"form": "if", "gate": "small", "depth": 3, "width": 8, "route": None, **changes}
    description["task"], description["preprocessing"]["crop"] = "segmentation", None
    description["preprocessing"]["resize"] = None
    description["inputs"].append({"name": "gate_threshold", "dtype": "float32", "shape": ["thresholds"]})
    cost = [{"mean": value, "worst": value} for value in (0.4, 0.1)]
    rows = [
        {"threshold": threshold, "gigaflops": c, "paper_gigaflops": c, "milliseconds": c, "agreement": 1.0,
         "routes": 1, "predicted_milliseconds": None, "accuracy": None}
        for threshold, c in zip((0.0, 1.0), cost, strict=True)
    ]  # fmt: skip
    sha256 = description["checkpoint"]["sha256"]
    description["budget"] = {"checkpoint": sha256, "images": 1, "size": [32, 32], "facts": {}, "settings": rows}
    (deployment / "adroit.json").write_text(json.dumps(description))
    return deployment


def budget_table_of_another_checkpoint(scene: Scene) -> list[object]:
    """Copied from a deployment before its network was trained again. Its thresholds would keep no budget."""
    deployment = _routed_deployment(scene)
    description = json.loads((deployment / "adroit.json").read_text())
    description["budget"]["checkpoint"] = "0" * 64
    (deployment / "adroit.json").write_text(json.dumps(description))
    return ["budget", deployment, "--gflops", 0.2]


def budget_that_no_threshold_keeps(scene: Scene) -> list[object]:
    """Less than stem, gates and head. Silence would close every path and still miss it."""
    return ["budget", _routed_deployment(scene), "--gflops", 0.05]


def two_budgets_at_once(scene: Scene) -> list[object]:
    """Which of them counts? Told before anything is measured."""
    return ["budget", _routed_deployment(scene), "--data", scene.images, "--gflops", 0.2, "--milliseconds", 4]


def drop_of_an_accuracy_that_was_not_measured(scene: Scene) -> list[object]:
    """The table was made on images without labels. Nothing can be said about their accuracy."""
    return ["budget", _routed_deployment(scene), "--accuracy-drop", 1]


def budget_of_a_network_without_gates(scene: Scene) -> list[object]:
    """An adder network. It has no threshold to set."""
    return ["budget", scene.deployment, "--data", scene.images]


def budget_of_a_routed_network_without_gates(scene: Scene) -> list[object]:
    """Trained with its gates off. It always costs the same."""
    return ["budget", _routed_deployment(scene, gate="none"), "--data", scene.images]


def budget_of_the_masked_form(scene: Scene) -> list[object]:
    """It computes closed paths too. A table of it would promise savings that it does not make."""
    return ["budget", _routed_deployment(scene, form="masked"), "--data", scene.images]


def budget_on_an_empty_folder(scene: Scene) -> list[object]:
    """A wrong path. A table of no image would have no numbers."""
    (scene.folder / "empty").mkdir()
    return ["budget", _routed_deployment(scene), "--data", scene.folder / "empty", "--html", scene.output / "r.html"]


def label_maps_of_another_size(scene: Scene) -> list[object]:
    """Maps of the images before they were scaled. They would be compared pixel by pixel with something else."""
    from PIL import Image

    for part, size in (("images", (160, 128)), ("labels", (80, 64))):
        (scene.folder / "data" / part).mkdir(parents=True)
        Image.new("RGB" if part == "images" else "L", size).save(scene.folder / "data" / part / "street.png")
    return ["budget", _routed_deployment(scene), "--data", scene.folder / "data"]


ATTACKS = [
    Attack(budget_table_of_another_checkpoint, 6),
    Attack(budget_that_no_threshold_keeps, 2),
    Attack(two_budgets_at_once, 2),
    Attack(drop_of_an_accuracy_that_was_not_measured, 2),
    Attack(budget_of_a_network_without_gates, 2),
    Attack(budget_of_a_routed_network_without_gates, 2),
    Attack(budget_of_the_masked_form, 2),
    Attack(budget_on_an_empty_folder, 2),
    Attack(label_maps_of_another_size, 2),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_attack(attack: Attack, scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    meet(attack, scene, adroit, snapshot)
