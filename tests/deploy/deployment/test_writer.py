"""The one writer: what commands write at once is all kept, and a command that is killed damages nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from adroit.deploy.deployment import writer
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import DESCRIPTION_FILE
from adroit.deploy.deployment.reading import read_description
from adroit.deploy.deployment.records import ModelRecord, ParityVerdict
from adroit.deploy.deployment.writer import editing, lock_folder, record_results, replacing_deployment
from adroit.errors import EnvironmentFault, UsageError
from tests.deploy.deployment.description import (
    budget_table,
    latency_table,
    small_deployment,
    small_description,
)
from tests.deploy.records import plan_record

# Long, since a busy machine may need it, and nothing waits for it where all is well.
PATIENCE = 120
# Writes one part again and again: number `begin` to `end` of it. Prints each number once it is on disk.
LOOP = """
import sys
from pathlib import Path
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import ParityVerdict
from adroit.deploy.deployment.writer import editing, record_results
from tests.deploy.deployment.description import budget_table, latency_table
from tests.deploy.records import plan_record

part, path, begin, end = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for number in range(begin, end):
    deployment = Deployment.read(path)
    if part == "parity":
        record_results(deployment, parity=ParityVerdict(True, 0.5, number, {}))
    elif part == "budget":
        record_results(deployment, budget=budget_table(number))
    elif part == "latency":
        record_results(deployment, latency=latency_table(number))
    else:
        with editing(deployment) as editor:
            editor.write(builds={**editor.description.builds, f"{part}{number}": plan_record(layers=number)})
    print(number, flush=True)
"""


def looping(part: str, path: Path, begin: int, end: int) -> subprocess.Popen[str]:
    """A process that writes `part` of the deployment at `path`, for each number from `begin` to `end`."""
    arguments = [part, str(path), str(begin), str(end)]
    root = Path(__file__).parents[3]
    return subprocess.Popen([sys.executable, "-c", LOOP, *arguments], stdout=subprocess.PIPE, text=True, cwd=root)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    deployment = small_deployment(tmp_path / "small")
    count = 20
    parts = ["parity", "budget", "latency", *map(str, range(1, 6))]
    processes = [looping(part, deployment.path, 1, count + 1) for part in parts]
    for process in processes:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0 and len(output.split()) == count
    info = Deployment.read(deployment.path).info
    assert info.parity is not None and info.parity.images == count
    assert info.budget == budget_table(count) and info.latency == latency_table(count)
    # Each build is written once: any that two processes overwrote for each other would be missing.
    assert set(info.builds) == {f"{part}{number}" for part in range(1, 6) for number in range(1, count + 1)}
    assert os.listdir(deployment.path) == [DESCRIPTION_FILE]


def test_a_writer_that_is_killed_leaves_a_whole_description_and_no_lock(tmp_path: Path) -> None:
    deployment = small_deployment(tmp_path / "small")
    chance = random.Random(0)
    for kill in range(1, 9):
        process = looping("1", deployment.path, 1000 * kill, 1000 * kill + 900)
        assert process.stdout is not None
        written = [int(process.stdout.readline()) for _ in range(chance.randint(1, 5))]
        time.sleep(chance.random() / 50)  # somewhere within a write
        process.send_signal(signal.SIGKILL)
        written += [int(line) for line in process.communicate(timeout=PATIENCE)[0].split()]
        builds = read_description(deployment.path).builds
        assert {f"1{number}" for number in written} <= set(builds)
    # The lock went with the process, and what it had begun is swept away by the next write.
    record_results(deployment, parity=ParityVerdict(True, 0.5, 1, {}))
    assert os.listdir(deployment.path) == [DESCRIPTION_FILE]


@pytest.mark.parametrize("call", ["fsync", "replace", "write_bytes"])
def test_a_write_that_fails_changes_nothing(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = small_deployment(tmp_path / "small")
    before = (deployment.path / DESCRIPTION_FILE).read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    if call == "write_bytes":
        deployment.path.chmod(0o500)
        if os.access(deployment.path, os.W_OK):
            pytest.skip("this user may write everywhere")
    else:
        monkeypatch.setattr(os, call, full)
    with pytest.raises(UsageError, match="cannot write"):
        record_results(deployment, budget=budget_table())
    deployment.path.chmod(0o700)
    assert (deployment.path / DESCRIPTION_FILE).read_bytes() == before
    assert os.listdir(deployment.path) == [DESCRIPTION_FILE]


def test_a_result_of_a_model_that_was_replaced_meanwhile_is_refused(tmp_path: Path) -> None:
    deployment = small_deployment(tmp_path / "small")
    with replacing_deployment(deployment.path, True) as folder:
        writer.write_description(folder, small_description(model=ModelRecord("1/model.onnx", "b" * 64)))
    with pytest.raises(UsageError, match="exported again meanwhile") as refused:
        record_results(deployment, parity=ParityVerdict(True, 0.5, 1, {}))
    assert refused.value.hint == "run the command again"
    assert read_description(deployment.path).parity is None


def waiting(action: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """A thread that runs `action`, and the list that then holds its result or its error."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(action())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_a_writer_waits_for_an_export_of_the_same_name_and_sees_what_it_made(tmp_path: Path) -> None:
    deployment = small_deployment(tmp_path / "small")
    with replacing_deployment(deployment.path, True) as folder:
        thread, results = waiting(lambda: record_results(deployment, budget=budget_table()))
        writer.write_description(folder, small_description(labels=("new",)))
        assert not results
    thread.join(PATIENCE)
    info = read_description(deployment.path)
    assert info.labels == ("new",) and info.budget == budget_table() and len(results) == 1


def test_a_writer_of_a_deployment_that_was_deleted_is_one_error(tmp_path: Path) -> None:
    deployment = small_deployment(tmp_path / "small")
    shutil.rmtree(deployment.path)
    with pytest.raises(UsageError, match="is not a deployment"):
        record_results(deployment, budget=budget_table())


def test_threads_take_turns(tmp_path: Path) -> None:
    deployment = small_deployment(tmp_path / "small")
    with lock_folder(deployment.path):
        thread, results = waiting(lambda: record_results(deployment, budget=budget_table()))
        assert read_description(deployment.path).budget is None and not results
    thread.join(PATIENCE)
    assert read_description(deployment.path).budget == budget_table()


def test_where_folders_cannot_be_locked_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS, which locks files that are open for writing."""
    deployment = small_deployment(tmp_path / "small")
    locked: list[str] = []

    def flock(descriptor: int, operation: int) -> None:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        if Path(target).is_dir():
            raise OSError(errno.EBADF, "Bad file descriptor")
        locked.append(Path(target).name)

    monkeypatch.setattr(fcntl, "flock", flock)
    record_results(deployment, budget=budget_table())
    assert locked == [writer.LOCK_FILE] and read_description(deployment.path).budget == budget_table()


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = small_deployment(tmp_path / "small")

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(EnvironmentFault, match="cannot lock"):
        record_results(deployment, budget=budget_table())
    assert read_description(deployment.path) == deployment.info


def test_a_second_write_under_one_lock_keeps_the_first(tmp_path: Path) -> None:
    deployment = small_deployment(tmp_path / "small")
    with editing(deployment) as editor:
        editor.write(builds={"2": plan_record()})
        written = editor.write(parity=ParityVerdict(True, 0.5, 1, {}))
    assert written.info == read_description(deployment.path)
    assert msgspec.structs.replace(written.info, builds={}, parity=None) == deployment.info
    assert set(written.info.builds) == {"2"} and written.info.parity is not None
