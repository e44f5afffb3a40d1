"""Every method's checkpoint goes through export, check and profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adroit.deploy.export.deployment import export_deployment
from adroit.deploy.parity.check import check_deployment
from adroit.deploy.profile.profile import Candidate, profile
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.models.data.images import read_images
from adroit.models.training.tables import InitialRecipe, Recipe
from tests.models.training.methods.recipes import NETWORK, tiny, trained

# IGAM's networks: leaky, and with shortcuts without weights.
LEAKY = {**NETWORK, "slope": 0.1, "shortcut": "padding", "classes": 10}
SMALL = {"discriminator_layers": 3, "discriminator_base": 4, "start": 0.5, "noise": 8.0}

RECIPES: dict[str, Callable[[Path, str, str], Recipe]] = {
    "rotnet": lambda images, _, __: tiny(images, {"rotnet": {}}, classes=4),
    "clusterfit": lambda images, rotnet, _: tiny(images, {"clusterfit": {"clusters": 3}}, classes=3, teacher=rotnet),
    "bownet": lambda images, rotnet, _: tiny(images, {"bownet": {"words": 6}}, classes=6, teacher=rotnet),
    "probe": lambda images, rotnet, _: tiny(images, {}, initial=InitialRecipe(rotnet, "new", "head")),
    "robust": lambda images, _, __: tiny(images, {"adversarial_training": {"steps": 2}, "robustness": {"steps": (2,)}}),
    "igam": lambda images, _, robust: tiny(images, {"igam": SMALL}, teacher=robust, arguments=LEAKY),
}


@pytest.mark.parametrize("method", RECIPES)
def test_a_trained_checkpoint_is_exported_checked_and_profiled(
    method: str, images: Path, rotnet: Path, robust: Path, tmp_path: Path
) -> None:
    trained(RECIPES[method](images, str(rotnet), str(robust)), tmp_path / "checkpoint")
    deployment = export_deployment(tmp_path / "checkpoint", tmp_path / "repository")
    with np.load(images) as archive:
        np.savez(tmp_path / "unlabeled.npz", images=archive["images"])
    options = RuntimeOptions(RuntimeName.onnxruntime, threads=1)
    report = check_deployment(deployment, read_images(tmp_path / "unlabeled.npz"), options)
    assert report.passed, report.output
    measured = profile([Candidate(method, deployment, options)], None, 1, None, 0.01).candidates[0]
    assert measured.latency.median > 0.0
    multiplied = sum(layer.counts.multiply_adds for layer in measured.layers)
    # Stem at 16 x 16, then stages of 16, 32 and 64 channels, the latter two halving the size.
    assert multiplied > 16 * 16 * 9 * (3 * 16 + 2 * 16 * 16) + 8 * 8 * 9 * (16 * 32 + 32 * 32)
