"""Mutated files: each is read, or refused by an error that adroit names. Nothing else may come out."""

from __future__ import annotations

import io
import itertools
import json
import random
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.reading import read_description
from adroit.errors import AdroitError
from tests.conftest import ROOT
from tests.fuzz.mutations import LIMIT, hostile, mutated_bytes, mutated_json, mutated_tree

pytestmark = [pytest.mark.timeout(LIMIT), pytest.mark.filterwarnings("ignore")]


def all_read_or_refused(inputs: Iterable[bytes], path: Path, read: Callable[[Path], Any]) -> None:
    """Puts each input at `path` and reads it; an input that ends otherwise is kept beside it."""
    refused = total = 0
    for content in inputs:
        path.write_bytes(content)
        total += 1
        try:
            read(path)
        except AdroitError as error:
            refused += 1
            assert error.message and "Traceback" not in str(error)
        except BaseException:
            path.with_name(f"found-{path.name}").write_bytes(content)
            raise
    assert 0 < refused <= total


@pytest.fixture(scope="module")
def descriptions(resnet_deployment: Deployment) -> list[bytes]:
    stored = [path.read_bytes() for path in (ROOT / "tests/deploy/deployment/format_1").rglob("*.json")]
    return [(resnet_deployment.path / "adroit.json").read_bytes(), *stored]


def test_descriptions(descriptions: list[bytes], tmp_path: Path) -> None:
    """Whoever copies a deployment by hand, or from another version, gives such files."""
    inputs = hostile(descriptions, mutated_json, 600)
    all_read_or_refused(inputs, tmp_path / "adroit.json", lambda path: read_description(path.parent))


def test_recipes(tmp_path: Path) -> None:
    """Recipes are written by hand: wrong types, numbers beyond reason and unknown words are usual."""
    from adroit.models.training.recipe import read_recipe, recipe_from_values

    recipes = [path.read_bytes() for path in sorted((ROOT / "models/recipes").glob("*.toml"))]

    def read(path: Path) -> None:
        content = path.read_bytes()
        try:
            values = tomllib.loads(content.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError):
            read_recipe(str(path))
            return
        recipe_from_values(mutated_tree(random.Random(content), values), str(path))

    all_read_or_refused(hostile(recipes, mutated_bytes, 600), tmp_path / "recipe.toml", read)


def _weights() -> list[bytes]:
    from safetensors.torch import save

    tensors = {"conv.weight": torch.zeros(2, 3), "bn.num_batches_tracked": torch.tensor(3)}
    new, old = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": tensors, "epoch": 3}, new)
    torch.save(tensors, old, _use_new_zipfile_serialization=False)
    return [new.getvalue(), old.getvalue(), save(tensors)]


def test_checkpoints(tmp_path: Path) -> None:
    """They come from anywhere: a damaged download must not read as weights, a crafted one must not run code."""
    from adroit.models.checkpoints.weights import read_weights

    all_read_or_refused(hostile(_weights(), mutated_bytes, 400), tmp_path / "weights.pth", read_weights)


def _pictures() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    found = []
    for kind, mode in (("PNG", "RGB"), ("PNG", "P"), ("JPEG", "RGB"), ("BMP", "RGB"), ("WEBP", "RGB"), ("TIFF", "L")):
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, kind)
        found.append(buffer.getvalue())
    return found


def test_images(tmp_path: Path) -> None:
    """Cameras, browsers and disks give cut and damaged files; sizes in headers may be any number."""
    from adroit.models.data.image_files import image_size, read_image

    def read(path: Path) -> None:
        assert read_image(path).shape[:2] == image_size(path)

    all_read_or_refused(hostile(_pictures(), mutated_bytes, 800), tmp_path / "picture.png", read)


def test_archives(tmp_path: Path) -> None:
    """An .npz is a zip file of arrays with headers of their own, which are Python's text."""
    from adroit.models.data.images import read_images

    def archive(compression: Callable[..., None]) -> bytes:
        buffer = io.BytesIO()
        compression(buffer, images=np.zeros((3, 4, 5, 3), np.uint8), labels=np.arange(3))
        return buffer.getvalue()

    def mutated(chance: random.Random, content: bytes) -> bytes:
        if chance.random() < 0.5:
            return mutated_bytes(chance, content)
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
            for name in old.namelist():
                new.writestr(name, mutated_bytes(chance, old.read(name)))
        return buffer.getvalue()

    seeds = [archive(np.savez), archive(np.savez_compressed)]
    all_read_or_refused(hostile(seeds, mutated, 500), tmp_path / "data.npz", lambda path: read_images(path).load(0))


def test_plugin_libraries(tmp_path: Path) -> None:
    """A library may be cut, of another machine, or crafted: it is judged by its bytes before anything loads it."""
    from adroit.deploy.plugin_check.library_file import read_library
    from tests.attacks.test_hostile_plugin_library import compiled

    library = compiled(tmp_path, "AdaptiveFilter 1 adroit\\n").read_bytes()
    all_read_or_refused(hostile([library], mutated_bytes, 500), tmp_path / "fuzzed.so", read_library)


def test_the_mutations_are_the_same_for_the_same_seed(descriptions: list[bytes]) -> None:
    first, second = (list(itertools.islice(hostile(descriptions, mutated_json), 5)) for _ in range(2))
    assert first == second
    assert any(json.loads(descriptions[0]) != item for item in first)
