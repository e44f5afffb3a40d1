"""Files are written whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adroit import files
from adroit.errors import UsageError
from tests.conftest import ROOT


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with files.atomic_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), files.atomic_folder(target) as folder:
        (folder / "a").write_text("new")
        raise RuntimeError("in the middle")
    assert (target / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_success_replaces_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "target"
    for text in ("old", "new"):
        with files.atomic_folder(target) as folder:
            (folder / text).write_text(text)
    assert [p.name for p in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_writer_leaves_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    old, new = b"o" * 4_000_000, b"n" * 4_000_000
    files.write_bytes(path, old)
    loop = (
        "from adroit import files; from pathlib import Path\n"
        "print('go', flush=True)\n"
        f"while True:\n for c in (b'n', b'o'): files.write_bytes(Path({str(path)!r}), c * 4_000_000)"
    )
    for attempt in range(10):
        process = subprocess.Popen([sys.executable, "-c", loop], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert path.read_bytes() in (old, new)


def test_json_that_is_no_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(UsageError, match="not a JSON object"):
        files.read_json(tmp_path / "list.json", "the list")
    with pytest.raises(UsageError, match="the thing is missing"):
        files.read_json(tmp_path / "none.json", "the thing")
