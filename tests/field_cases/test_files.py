"""Files from the field: what a command writes over, and what it writes into."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adroit.deploy.deployment.deployment import Deployment
from tests.conftest import Adroit, Result


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def deployment(lenet_deployment: Deployment, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(lenet_deployment.path, tmp_path / "repository" / "mine"))


def test_export_keeps_what_it_would_delete_until_the_user_says_so(
    adroit: Adroit, lenet_checkpoint: Path, tmp_path: Path
) -> None:
    command = ("export", lenet_checkpoint, "-o", tmp_path, "--name", "mine")
    assert adroit(*command).code == 0
    assert adroit(*command).code == 0  # nothing but the model is there: it is made again
    assert adroit("build", tmp_path / "mine", "--backend", "onnxruntime").code == 0
    (tmp_path / "mine" / "NOTES.md").write_text("mine")
    refused = adroit(*command)
    assert refused.code == 2
    assert all(text in refused.err for text in ("builds", "2", "NOTES.md", "--replace"))
    assert (tmp_path / "mine" / "2" / "model.onnx").exists()
    replaced = adroit(*command, "--replace")
    assert replaced.code == 0
    assert "note:" in replaced.err and "NOTES.md" in replaced.err
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "1", "adroit.json", "config.pbtxt", "reference",
    ]  # fmt: skip


def test_an_edited_configuration_of_triton_survives_a_build(adroit: Adroit, deployment: Path) -> None:
    path = deployment / "config.pbtxt"
    edited = path.read_text().replace("max_batch_size: 16", "max_batch_size: 8") + "instance_group { count: 4 }\n"
    path.write_text(edited)
    result = adroit("build", deployment, "--backend", "onnxruntime")
    assert result.code == 0, result.err
    assert path.read_text() == edited + "version_policy { specific { versions: [ 1 ] } }\n"
    assert "config.pbtxt was edited" in result.err
    assert adroit("build", deployment, "--backend", "onnxruntime").code == 0
    assert path.read_text().count("version_policy") == 1


def test_check_passes_where_nothing_can_be_recorded(
    adroit: Adroit, deployment: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (deployment / "adroit.json").read_bytes()
    # Also for root, whom permissions do not stop: as a read-only file system answers.
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and may(path, mode))
    result = adroit("check", deployment, "--data", images, "--images", 2)
    assert (result.code, result.out.rstrip().endswith("PASSED")) == (0, True), result.err
    assert "note:" in result.err and "nothing is recorded" in result.err
    assert (deployment / "adroit.json").read_bytes() == before


def test_links_and_pipes_stay_what_they_are(adroit: Adroit, deployment: Path, photo: Path, tmp_path: Path) -> None:
    link, target, pipe = tmp_path / "link.npz", tmp_path / "elsewhere" / "target.npz", tmp_path / "pipe"
    target.parent.mkdir()
    link.symlink_to(target)
    assert adroit("run", deployment, "--data", photo, "-o", link).code == 0
    assert link.is_symlink() and np.load(target)["logits"].shape == (1, 10)
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    assert adroit("run", deployment, "--data", photo, "-o", pipe).code == 0
    reader.join(timeout=60)
    assert received[0] == target.read_bytes() and stat.S_ISFIFO(pipe.stat().st_mode)


def test_umask_and_mode_are_kept(adroit: Adroit, deployment: Path, photo: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert adroit("run", deployment, "--data", photo, "-o", tmp_path / "private.npz").code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private.npz").stat().st_mode) == 0o600
    (tmp_path / "shared.npz").touch()
    (tmp_path / "shared.npz").chmod(0o664)
    assert adroit("run", deployment, "--data", photo, "-o", tmp_path / "shared.npz").code == 0
    assert stat.S_IMODE((tmp_path / "shared.npz").stat().st_mode) == 0o664


def shell(line: str, **environment: str) -> Result:
    """Runs a line of the shell with $ADROIT for the command."""
    variables = {**os.environ, "ADROIT": f"{sys.executable} -m adroit", "NO_COLOR": "1", **environment}
    done = subprocess.run(["bash", "-c", line], capture_output=True, env=variables, check=False, timeout=240)
    return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def test_with_standard_error_closed_the_output_is_written(deployment: Path, photo: Path, tmp_path: Path) -> None:
    result = shell(f"$ADROIT run {deployment} --data {photo} -o {tmp_path}/o.npz --top 1 2>&-")
    assert (result.code, result.err) == (0, "")
    assert np.load(tmp_path / "o.npz")["logits"].shape == (1, 10)
    assert result.out.startswith("photo.png: class ")


def test_a_full_standard_output_is_one_line(deployment: Path) -> None:
    result = shell(f"$ADROIT inspect {deployment} > /dev/full")
    assert result.code == 7
    assert result.err.startswith("error: No space left on device: standard output")
    assert "Traceback" not in result.err


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8:strict"])
def test_names_that_the_terminal_cannot_write_are_escaped(
    deployment: Path, photo: Path, tmp_path: Path, encoding: str
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("猫.png".encode(), b"caf\xe9.png"):
        shutil.copy(photo, os.path.join(os.fsencode(folder), name))
    result = shell(f"$ADROIT run {deployment} --data {folder} --top 1", PYTHONIOENCODING=encoding)
    assert (result.code, len(result.out.splitlines())) == (0, 2), result.err
    assert "\\udce9" in result.out


@pytest.mark.parametrize("command", ["run", "check", "profile", "serve", "inspect", "build"])
def test_a_name_that_is_too_long_is_no_bug_of_ours(adroit: Adroit, command: str, tmp_path: Path) -> None:
    more = {"run": ["--data", "x", "--top", 1], "check": ["--data", "x"], "build": ["--backend", "onnxruntime"]}
    result = adroit(command, tmp_path / ("x" * 300), *more.get(command, []))
    assert result.code == 2
    assert "error:" in result.err and "bug in adroit" not in result.err
