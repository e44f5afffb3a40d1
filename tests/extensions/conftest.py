"""Packages as pip installs them, a folder and its .dist-info, in a folder on Python's path."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adroit import extensions
from adroit.models.checkpoints import importers
from adroit.models.networks import architectures
from adroit.models.training import recipe

Install = Callable[..., Path]

CODE = """
from collections import OrderedDict

from adroit.models.checkpoints.importers import OfficialLayout
from adroit.models.data.preprocessing import Preprocessing
from adroit.models.networks.architectures import Architecture


def build(classes, width):
    from torch import nn

    class Tiny(nn.Sequential):
        def forward(self, x):
            return super().forward(x)

    layers = OrderedDict(conv=nn.Conv2d(3, width, 3, 2, 1), norm=nn.BatchNorm2d(width), relu=nn.ReLU())
    layers |= dict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), head=nn.Linear(width, classes))
    return Tiny(layers)


def architecture():
    return Architecture(NAME, build, (16, 16), True, Preprocessing(), {"classes": 10, "width": 4})


def layouts():
    return {NAME: OfficialLayout(lambda network, name: name.replace("conv.", "features.0."), tuple("ab"))}
"""
RECIPE = """
architecture = "NAME"
[data]
name = "digits"
[optimizer]
epochs = 1
learning_rate = 0.05
"""


def _forget() -> None:
    extensions.entry_points.cache_clear()
    architectures.added_architectures.cache_clear()
    importers.added_layouts.cache_clear()
    recipe.added_recipes.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package with a network, its published layout and a recipe; returns the folder on Python's path."""
    folder, modules = tmp_path / "site", set(sys.modules)
    monkeypatch.syspath_prepend(folder)

    def install_one(package: str, network: str, code: str = CODE, entry_points: str | None = None) -> Path:
        module = package.replace("-", "_")
        (folder / module / "recipes").mkdir(parents=True)
        (folder / module / "__init__.py").write_text(f"NAME = {network!r}\n{code}")
        (folder / module / "recipes" / "__init__.py").touch()
        (folder / module / "recipes" / f"{network}-digits.toml").write_text(RECIPE.replace("NAME", network))
        information = folder / f"{module}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        points = f"""
            [adroit.architectures]
            networks = {module}:architecture
            [adroit.importers]
            layouts = {module}:layouts
            [adroit.recipes]
            recipes = {module}.recipes
            """
        (information / "entry_points.txt").write_text(textwrap.dedent(points if entry_points is None else entry_points))
        _forget()
        return folder

    yield install_one
    _forget()
    for name in set(sys.modules) - modules:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
