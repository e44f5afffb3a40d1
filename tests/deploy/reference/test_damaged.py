"""A damaged reference is refused by a message of ours, and reading one runs no code."""

from __future__ import annotations

import copy
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from adroit.deploy.reference.store import PROGRAM, WEIGHTS, read_reference
from adroit.errors import AdroitError
from tests.conftest import ROOT
from tests.deploy.reference.stored import Json, refusal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 1}',
        "[" * 100_000,
        '{"graphs":' * 50_000,
        b"\xff\xfe\x00",
        b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.",
    ],
    ids=["empty", "cut", "list", "null", "bare", "deep", "deep-objects", "no-utf8", "pickle"],
)
def test_a_file_that_is_no_program_is_refused(text: str | bytes, stored: Path, tmp_path: Path) -> None:
    assert PROGRAM in refusal(stored, tmp_path, text).message


def test_a_missing_or_damaged_weights_file_is_refused(stored: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reference"
    shutil.copytree(stored, folder)
    data = (folder / WEIGHTS).read_bytes()
    for damaged in (b"", data[:-7], b"\xff" * 40, data[:8] + b"[" * (len(data) - 8)):
        (folder / WEIGHTS).write_bytes(damaged)
        with pytest.raises(AdroitError, match=WEIGHTS):
            read_reference(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(AdroitError, match=WEIGHTS):
        read_reference(folder)


def test_random_changes_never_give_a_traceback(program: Json, stored: Path, tmp_path: Path) -> None:
    """300 files, each with one to three parts changed: refused by a message of ours, or read and run."""
    folder = tmp_path / "reference"
    shutil.copytree(stored, folder)
    refused = 0
    for seed in range(300):
        changed = copy.deepcopy(program)
        chance = random.Random(seed)
        for _ in range(chance.randint(1, 3)):
            _change(changed, chance)
        (folder / PROGRAM).write_text(json.dumps(changed))
        try:
            read_reference(folder)(torch.zeros(1, 3, 8, 6))
        except AdroitError:
            refused += 1
    assert refused > 200


def _change(value: Any, chance: random.Random) -> None:
    """Changes one place of a JSON value, at any depth."""
    places = [(container, key) for container, key in _places(value)]
    container, key = chance.choice(places)
    junk: list[Any] = [None, True, -1, 0, 2**31, 2**62, 1.5, "", "x", "aten.relu.default", [], {}, [[1]]]
    match chance.randrange(3):
        case 0:
            container[key] = chance.choice(junk)
        case 1:
            other, place = chance.choice(places)
            container[key] = copy.deepcopy(other[place])
        case 2:
            del container[key]


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in [(value, key), *_places(value[key])]]


WATCHED = """
import sys, torch
from pathlib import Path
from adroit.deploy.reference.store import read_reference
folder = Path(sys.argv[1])
x = torch.zeros(1, 3, 8, 6)
read_reference(folder)(x)  # what PyTorch loads at its first use
events = []
watched = ("compile", "exec", "import", "pickle.find_class", "subprocess.Popen", "os.system", "socket.connect")
sys.addaudithook(lambda event, _: events.append(event) if event.startswith(watched) else None)
read_reference(folder).double()(x)
print(events)
"""


def test_reading_and_running_compiles_and_imports_nothing(stored: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(stored)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
