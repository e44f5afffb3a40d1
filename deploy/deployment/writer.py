"""The one writer of adroit.json: it locks the deployment, reads again, changes its own part, and writes whole.

    record_results(deployment, parity=verdict)          # one part
    with editing(deployment) as editor:                 # the lock is held: also for files beside the description
        ...
        editor.write(builds={**editor.description.builds, version: record})

Two commands at once lose nothing: whoever comes second waits, and reads what the first wrote. The lock is taken on
the deployment's folder itself (flock), so it leaves no file behind, ends with its process even on kill -9, and needs
no permission to write. A reader needs no lock: it sees the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from adroit import files
from adroit.deploy.deployment.budget_table import BudgetTable
from adroit.deploy.deployment.builds import BuildRecord
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.latency_table import LatencyTable
from adroit.deploy.deployment.names import DESCRIPTION_FILE
from adroit.deploy.deployment.reading import read_description
from adroit.deploy.deployment.records import ParityVerdict
from adroit.deploy.deployment.replacing import check_replaceable, note_replaced
from adroit.errors import AdroitWarning, EnvironmentFault, UsageError

# In a folder of NFS, which locks files that are open for writing, and no folders.
LOCK_FILE = ".lock"
_NOT_LOCKABLE = (errno.EBADF, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS)


@dataclass
class DescriptionEditor:
    """A deployment that nobody else changes meanwhile; `description` is as it was read under the lock."""

    path: Path
    description: Description

    def write(
        self,
        *,
        parity: ParityVerdict | None = None,
        builds: Mapping[str, BuildRecord] | None = None,
        budget: BudgetTable | None = None,
        latency: LatencyTable | None = None,
    ) -> Deployment:
        """Replaces the parts that are given, and writes the description whole or not at all.

        Raises:
            UsageError, OutOfResource: as adroit.files.write_bytes.
        """
        parts = {"parity": parity, "builds": builds, "budget": budget, "latency": latency}
        given = {name: part for name, part in parts.items() if part is not None}
        self.description = msgspec.structs.replace(self.description, **given)
        write_description(self.path, self.description)
        return Deployment(self.path, self.description)


def record_results(
    deployment: Deployment,
    *,
    parity: ParityVerdict | None = None,
    budget: BudgetTable | None = None,
    latency: LatencyTable | None = None,
) -> Deployment:
    """Stores what was measured of `deployment`; the other parts stay as the file has them by now.

    Returns:
        the deployment as it is now.

    Raises:
        UsageError: as `editing`, or a folder that cannot be written.
        OutOfResource: the disk is full.
    """
    with editing(deployment) as editor:
        return editor.write(parity=parity, budget=budget, latency=latency)


def record_if_writable(
    deployment: Deployment, *, parity: ParityVerdict | None = None, latency: LatencyTable | None = None
) -> None:
    """As `record_results`, where the deployment can be written to; else says that nothing is recorded."""
    if os.access(deployment.path, os.W_OK):
        record_results(deployment, parity=parity, latency=latency)
    else:
        warnings.warn(
            f"{deployment.path} cannot be written to, so nothing is recorded there", AdroitWarning, stacklevel=2
        )


@contextlib.contextmanager
def editing(deployment: Deployment) -> Iterator[DescriptionEditor]:
    """Locks `deployment`, and reads its description again.

    Raises:
        UsageError: it is gone, it was exported again since `deployment` was read, or its description is damaged.
        EnvironmentFault: its file system has no locks.
    """
    with lock_folder(deployment.path):
        description = read_description(deployment.path)
        if description.model.sha256 != deployment.info.model.sha256:
            raise UsageError(
                f"{deployment.path} was exported again meanwhile: the result of this command is of the model before",
                hint="run the command again",
            )
        yield DescriptionEditor(deployment.path, description)


@contextlib.contextmanager
def lock_folder(path: Path) -> Iterator[None]:
    """Holds the lock of the deployment at `path`, and waits for it where another process, or thread, has it.

    Whoever replaces the folder by another (export, quantize) holds the lock of the old one; who waited for that one
    then takes the new one's.

    Raises:
        UsageError: there is no such folder, or it cannot be read.
        EnvironmentFault: its file system has no locks.
    """
    while True:
        descriptor = _locked(path)
        try:
            if _is_at(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def replacing_deployment(path: Path, replace: bool) -> Iterator[Path]:
    """Yields an empty folder that becomes the deployment at `path` if the body succeeds.

    A deployment that is there already is locked until then, and replaced whole; what goes with it is said.

    Raises:
        UsageError: the old one has come to hold what may not be deleted (check_replaceable), or as
            adroit.files.atomic_folder. OutOfResource: the disk is full.
        EnvironmentFault: its file system has no locks.
    """
    with contextlib.ExitStack() as stack:
        if path.is_dir():
            stack.enter_context(lock_folder(path))
            check_replaceable(path, replace)
        temporary = stack.enter_context(files.atomic_folder(path))
        yield temporary
        if path.is_dir():
            note_replaced(path)


def write_description(folder: Path, description: Description) -> None:
    """Writes adroit.json whole or not at all, in a folder that is locked, or that nobody else knows yet.

    Raises:
        UsageError, OutOfResource: as adroit.files.write_bytes.
    """
    for leftover in folder.glob(f".{DESCRIPTION_FILE}.*"):  # of a command that was killed while it wrote
        leftover.unlink(missing_ok=True)
    files.write_json(folder / DESCRIPTION_FILE, msgspec.to_builtins(description))


def _locked(path: Path) -> int:
    """Returns a descriptor of the folder at `path`, or of its lock file, that holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"{path} is not a deployment: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _NOT_LOCKABLE:
            raise EnvironmentFault(f"cannot lock {path}", facts={"reason": error.strerror}) from error
    descriptor = -1
    try:
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        raise EnvironmentFault(
            f"cannot lock {path}, so another command could overwrite what this one writes",
            facts={"reason": error.strerror},
            hint="use a file system that has locks (flock), and a folder that you may write to",
        ) from error


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the folder (or lock file) that was locked is still the one at `path`."""
    opened = os.fstat(descriptor)
    try:
        here = [os.stat(place) for place in (path, path / LOCK_FILE) if place.exists()]
    except OSError:
        return False
    return any(os.path.samestat(opened, place) for place in here)
