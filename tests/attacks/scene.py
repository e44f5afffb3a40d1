"""Hostile and wrong input: one clear error each, the right exit code, no traceback, nothing half-written.

Each attack is a function that makes its input in a folder and returns the command that meets it,
with two sentences on why it matters.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syrupy.assertion import SnapshotAssertion

from tests.conftest import Adroit


@dataclass(frozen=True)
class Scene:
    """What an attack may use: an empty folder, a checkpoint, a deployment, images."""

    folder: Path
    checkpoint: Path
    deployment: Path
    images: Path

    @property
    def output(self) -> Path:
        return self.folder / "output"


@dataclass(frozen=True)
class Attack:
    """What makes the input and returns the command that meets it, and the exit code that the command must have."""

    make: Callable[[Scene], list[object]]
    code: int

    @property
    def name(self) -> str:
        return self.make.__name__.replace("_", " ")


class Payload:
    """Unpickles to a call; the file that it would make proves that it ran."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.proof}",)


def copied_deployment(scene: Scene) -> Path:
    """One that may be damaged."""
    copy = scene.folder / "deployment"
    shutil.copytree(scene.deployment, copy)
    return copy


def _listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def meet(attack: Attack, scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    """Runs the attack's command: it exits with the expected code and one error, and nothing is written or lost."""
    command = attack.make(scene)
    before = _listing(scene.folder)
    result = adroit(*command)
    message = result.err
    for path, name in (
        (scene.folder, "FOLDER"),
        (scene.deployment, "DEPLOYMENT"),
        (scene.deployment.parent, "REPOSITORY"),
    ):
        message = message.replace(str(path), name)
    assert result.code == attack.code, result.err
    assert "Traceback" not in result.err
    assert result.err.startswith("error: ") or "\nerror: " in result.err
    assert _listing(scene.folder) == before
    message = re.sub(r"\b[0-9a-f]{64}\b", "SHA256", message)
    # Other packages' words change with their versions.
    assert re.sub(r"(?<=  reason  ).*", "...", message) == snapshot
