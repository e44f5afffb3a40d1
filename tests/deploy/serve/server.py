"""A server in a process of its own, as a user starts it, but with time limits for slow machines."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

# Seconds to wait for what must happen sooner or later; nothing is timed.
PATIENCE = 180.0
COMMAND = "from adroit.deploy.cli.main import main; main()"
# The times that no option sets: to answer what was accepted before a signal to stop, and to close runtimes.
ADROIT = f"""
import functools
from adroit.deploy.serve import options, server
options.Limits = functools.partial(options.Limits, drain_seconds={PATIENCE})
server._CLOSE_SECONDS = {PATIENCE}
{COMMAND}
"""
# A test that is about one of these gives it again; the last one counts.
PATIENT = ("--queue-seconds", 600, "--receive-seconds", 300)


@dataclass
class Server:
    """A server's addresses ("host:port"), its process, and the file that holds its standard error."""

    http: str
    grpc: str
    metrics: str
    process: subprocess.Popen[str]
    log: Path

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body, also of a refusal."""
        return self.send("GET", path)

    def post(self, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        return self.send("POST", path, body, **headers)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://{self.http}{path}", body, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, path: str) -> Any:
        status, body = self.get(path)
        assert status == 200, body
        return json.loads(body)

    def events(self) -> list[dict[str, Any]]:
        """Return the log's records."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def metric(self, name: str) -> float:
        """Return a metric's value, summed over its labels."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=PATIENCE) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition("{")[0].partition(" ")[0] == name)

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def stop(self) -> int:
        """Send the signal to stop, as an operator does; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def running(
    folder: Path, repository: Path, *arguments: object, wait: bool = True, code: str = ADROIT
) -> Iterator[Server]:
    """Run `adroit serve repository` on free ports; kill it at the end if it has not stopped.

    Args:
        folder: where the log goes.
        wait: wait until the server is ready.
        code: what Python runs, with the command line's arguments.
    """
    log = folder / "server.log"
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    command = [
        sys.executable,
        "-c",
        code,
        "serve",
        str(repository),
        *ports,
        "--threads",
        "1",
        "--json",
        *map(str, PATIENT),
    ]
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        assert process.stdout is not None
        text = ""
        while "}" not in text:
            line = process.stdout.readline()
            assert line, log.read_text()
            text += line
        addresses = json.loads(text)
        server = Server(
            *(addresses[n].rpartition("//")[2].partition("/")[0] for n in ("http", "grpc", "metrics")), process, log
        )
        if wait:
            until_ready(server)
        yield server
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for a condition to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)


def until_ready(server: Server) -> None:
    """Wait for the server to be ready."""
    end = time.monotonic() + PATIENCE
    while server.get("/v2/health/ready")[0] != 200:
        assert server.process.poll() is None and time.monotonic() < end, server.log.read_text()
        time.sleep(0.05)
