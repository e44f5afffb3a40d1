"""Builds C++ under build/ for tests. Needs no installed adroit: the checks on a GPU use it too."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]


class NotHere(Exception):
    """This machine cannot build or run something; the text is the reason."""


def lock(name: str) -> FileLock:
    """Held while build/NAME is written: test processes that want the same thing wait for each other."""
    (ROOT / "build").mkdir(exist_ok=True)
    return FileLock(ROOT / "build" / f"{name.replace('/', '-')}.lock")


def cmake_build(source: str, name: str, *target: str, settings: tuple[str, ...] = ()) -> Path:
    """Builds ROOT/source in ROOT/build/NAME, which it returns.

    Raises:
        NotHere: cmake or g++ is missing.
        RuntimeError: the build failed; the text is what the tools said.
    """
    for tool in ("cmake", "g++"):
        if not shutil.which(tool):
            raise NotHere(f"{tool} is not installed")
    folder = ROOT / "build" / name
    with lock(name):
        for command in (
            ["cmake", "-S", str(ROOT / source), "-B", str(folder), *settings],
            ["cmake", "--build", str(folder), f"-j{min(8, os.cpu_count() or 1)}", *target],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return folder


def built_or_skipped(source: str, name: str, *settings: str) -> Path:
    """Builds as cmake_build does, for a test, which is skipped where a tool is missing."""
    try:
        return cmake_build(source, name, settings=settings)
    except NotHere as why:
        pytest.skip(str(why))
