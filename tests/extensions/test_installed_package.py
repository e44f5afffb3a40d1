"""An installed package's network, recipe and published layout do what adroit's own do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import adroit as public
from tests.conftest import ROOT, Adroit
from tests.extensions.conftest import CODE, Install


def test_its_network_is_listed_trained_exported_and_checked(
    install: Install, tmp_path: Path, adroit: Adroit, images: Path
) -> None:
    install("tiny-package", "tiny")
    assert "tiny" in json.loads(adroit("list", "networks", "--json").out)
    assert "tiny-digits" in adroit("list", "recipes").out.splitlines()
    assert adroit("list", "networks").err == ""
    trained = adroit("train", "tiny-digits", "-o", tmp_path / "trained", "--threads", 1)
    assert trained.code == 0, trained.err
    exported = adroit("export", tmp_path / "trained", "-o", tmp_path / "repository", "--portable")
    assert exported.code == 0, exported.err
    checked = adroit("check", tmp_path / "repository" / "tiny", "--data", images, "--operators", "portable")
    assert checked.code == 0, checked.out + checked.err


def test_its_published_weights_are_imported(install: Install, tmp_path: Path, adroit: Adroit) -> None:
    install("tiny-package", "tiny")
    state = public.create_network("tiny", classes=2).state_dict()
    published = {name.replace("conv.", "features.0."): tensor for name, tensor in state.items()}
    torch.save({"model": {f"module.{n}": t for n, t in published.items()}, "swa": published}, tmp_path / "tiny.pth")
    command = ("import", "tiny", tmp_path / "tiny.pth", "-o", tmp_path / "imported", "--classes", 2)
    assert "--weights-key swa" in adroit(*command).err
    imported = adroit(*command, "--weights-key", "model")
    assert imported.code == 0, imported.err
    config = json.loads((tmp_path / "imported" / "config.json").read_text())
    assert config["labels"] == ["a", "b"] and config["source"]["key"] == "model"


def test_arguments_of_any_kind_are_read(install: Install, tmp_path: Path, adroit: Adroit) -> None:
    code = CODE.replace('"width": 4', '"width": 4, "sizes": None').replace("classes, width)", "classes, width, sizes)")
    install("tiny-package", "tiny", code)
    state = public.create_network("tiny").state_dict()
    torch.save({name.replace("conv.", "features.0."): t for name, t in state.items()}, tmp_path / "tiny.pth")
    command = ("import", "tiny", tmp_path / "tiny.pth", "-o", tmp_path / "imported", "--argument")
    assert "must be a value as Python writes it" in adroit(*command, "sizes=[1,").err
    imported = adroit(*command, "sizes=[1, 2]")
    assert imported.code == 0, imported.err
    config = json.loads((tmp_path / "imported" / "config.json").read_text())
    assert config["arguments"] == {"sizes": [1, 2]} and config["labels"] == []


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list", "operators"]])
def test_packages_are_not_imported_before_they_are_asked_for(words: list[str], install: Install) -> None:
    folder = install("loud-package", "loud", "raise SystemExit('imported')")
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from adroit.deploy.cli.main import main; main({words})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_adroit_reads_no_entry_points() -> None:
    code = "import sys, adroit; print('adroit.extensions' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "False\n"
