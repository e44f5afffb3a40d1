"""Commands with arguments that no one should give: a message and a code of the closed set, never a traceback."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

from adroit.deploy.cli.main import app
from adroit.deploy.deployment.deployment import Deployment
from tests.conftest import Adroit
from tests.fuzz.mutations import LIMIT, hostile

pytestmark = pytest.mark.timeout(LIMIT)
# `serve` and `train` go on for long where their arguments happen to be right.
COMMANDS = [name for name in typer.main.get_command(app).commands if name not in ("serve", "train", "plugins")]  # type: ignore[attr-defined]
WORDS = [
    "", " ", "-", "--", "-1", "0", "1", "2", "3.5", "1e400", "nan", "9" * 40, "x", "../..", "/", "/dev/null",
    "/proc/self/mem", "\U0001f600", "x" * 400, "32x32", "0x0", "all", "none", "a=b", "a=Lx3:float32",
    "net.py:Net", "json:loads", "os:system", "adder-resnet20", "dynamic-small", "onnxruntime", "tensorrt", "keep",
]  # fmt: skip


@pytest.fixture(scope="module")
def paths(resnet_deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Things that exist: some of them right for some command."""
    folder = tmp_path_factory.mktemp("things")
    (folder / "empty").mkdir()
    (folder / "empty.npz").touch()
    (folder / "text.txt").write_text("cat\ndog\n")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / "photo.png")
    (folder / "damaged.png").write_bytes((folder / "photo.png").read_bytes()[:40])
    np.savez(folder / "images.npz", images=np.zeros((2, 32, 32, 3), np.uint8), labels=np.arange(2))
    names = ("empty", "empty.npz", "text.txt", "photo.png", "damaged.png", "images.npz", "not there")
    things = [str(folder / name) for name in names]
    return [*things, str(resnet_deployment.path), str(resnet_deployment.model_file), str(resnet_deployment.path.parent)]


def _made_by(paths: list[str], output: Path) -> Callable[[random.Random, bytes], bytes]:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]

    def make(chance: random.Random, command: bytes) -> bytes:
        """A command's name with words joined by line ends."""
        name = command.decode()
        words: list[str] = [name]
        for parameter in commands[name].params:
            required = bool(parameter.required)
            if chance.random() > (0.95 if required else 0.15) or parameter.name in ("seconds", "help"):
                continue
            if parameter.param_type_name == "option":
                words.append(chance.choice(parameter.opts))
                if getattr(parameter, "is_flag", False):
                    continue
            words.append(str(output) if parameter.name == "output" else chance.choice([*paths, *paths, *WORDS]))
        return "\n".join(words).encode("utf-8", "surrogatepass")

    return make


def test_commands(adroit: Adroit, paths: list[str], tmp_path: Path) -> None:
    """Every option of every command, with words of other options, of other types, and with paths of other things."""
    seeds = [name.encode() for name in COMMANDS]
    wrong: list[tuple[list[str], Any]] = []
    for content in hostile(seeds, _made_by(paths, tmp_path / "output"), 300):
        words = content.decode().split("\n")
        limits = ["--seconds", "0.01"] if words[0] in ("profile", "budget") else []
        result = adroit(*words, *limits, cwd=tmp_path)
        if result.code not in (0, 2, 3, 4, 5, 6, 7) or "Traceback" in result.err or "bug in adroit" in result.err:
            wrong.append((words, result))
    assert wrong == []
