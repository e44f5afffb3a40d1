"""What a new deployment in the place of an old one would delete: it is listed, and lost only where the user says so."""

from __future__ import annotations

import warnings
from pathlib import Path

from adroit.deploy.deployment.builds import TensorRTBuild
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.names import DESCRIPTION_FILE, MODEL_FILE, REFERENCE_FOLDER, TRITON_FILE, check_name
from adroit.deploy.deployment.reading import read_description
from adroit.deploy.deployment.triton_configuration import PLAN_CONFIG, plan_config, triton_config
from adroit.errors import AdroitWarning, UsageError
from adroit.models.data.image_files import visible
from adroit.text import shortened


def check_place(repository: Path, name: str, replace: bool) -> Path:
    """Returns the folder of the deployment `name`, where one can be written.

    Args:
        replace: whether all that an old deployment there holds may be deleted.

    Raises:
        UsageError: a name that is none, a folder that holds something else, or one with builds, tables or files that
            would be deleted.
    """
    folder = repository / check_name(name)
    if folder.exists() and not (folder / DESCRIPTION_FILE).exists():
        raise UsageError(f"{folder} exists and is not a deployment", hint="choose another --name or folder")
    check_replaceable(folder, replace)
    return folder


def check_replaceable(folder: Path, replace: bool) -> None:
    """Raises UsageError where replacing the deployment in `folder` deletes what an export does not make again."""
    if not folder.exists():
        return
    lost = _contents(folder)
    if lost and not replace:
        raise UsageError(
            f"{folder} exists, and replacing it would delete more than its model", facts=lost,
            hint="choose another --name, or say --replace",
        )  # fmt: skip


def note_replaced(folder: Path) -> None:
    """Says what goes with the old deployment in `folder`, where its parity or more was there."""
    lost = _contents(folder)
    try:
        if read_description(folder).parity is not None:
            lost["parity"] = "the verdict of `check`"
    except UsageError:
        pass
    if lost:
        what = "; ".join(f"{kind}: {names}" for kind, names in lost.items())
        warnings.warn(f"{folder} is replaced; with the old one go {what}", AdroitWarning, stacklevel=2)


def is_edited(path: Path, *generated: str) -> bool:
    """Whether the file at `path` is none of the texts that adroit would have written there."""
    try:
        return path.read_text(encoding="utf-8") not in generated
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError):
        return True


def _contents(folder: Path) -> dict[str, object]:
    try:
        info: Description | None = read_description(folder)
    except UsageError:
        info = None
    lost: dict[str, object] = {}
    versions = [path.name for path in visible(folder) if path.is_dir() and path.name.isdecimal() and path.name != "1"]
    if versions:
        lost["builds"] = ", ".join(versions)
    tables = [name for name in ("budget", "latency") if info is not None and getattr(info, name) is not None]
    if tables:
        lost["tables"] = ", ".join(tables)
    if info is not None and is_edited(folder / TRITON_FILE, triton_config(info), triton_config(info, [1])):
        lost["edited"] = TRITON_FILE
    known = {DESCRIPTION_FILE, TRITON_FILE, REFERENCE_FOLDER, Path(MODEL_FILE).parts[0], Path(PLAN_CONFIG).parts[0]}
    others = [path.name for path in visible(folder) if path.name not in known and path.name not in versions]
    others += _beside(folder / Path(MODEL_FILE).parent, Path(MODEL_FILE).name)
    others += _beside(folder / Path(PLAN_CONFIG).parent, Path(PLAN_CONFIG).name)
    if others:
        lost["files"] = shortened(others, 10)
    return lost


def _beside(folder: Path, known: str) -> list[str]:
    return [f"{folder.name}/{path.name}" for path in visible(folder) if path.name != known] if folder.is_dir() else []


def plan_config_is_edited(folder: Path, info: Description) -> bool:
    """Whether the configuration of the plans is another than adroit wrote for one of them."""
    builds = {version: build for version, build in info.builds.items() if isinstance(build, TensorRTBuild)}
    return is_edited(folder / PLAN_CONFIG, *(plan_config(info, int(v), build) for v, build in builds.items()))
