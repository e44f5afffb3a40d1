"""A server in a process of its own, as a user starts it."""

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

READY_WITHIN = 180.0
ADROIT = "from adroit.deploy.cli.main import main; main()"


@dataclass
class Server:
    """Where it listens ("host:port"), and its process; `log` is the file that standard error goes to."""

    http: str
    grpc: str
    metrics: str
    process: subprocess.Popen[str]
    log: Path

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; the body of a refusal too."""
        return self.send("GET", path)

    def post(self, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        return self.send("POST", path, body, **headers)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://{self.http}{path}", body, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, path: str) -> Any:
        status, body = self.get(path)
        assert status == 200, body
        return json.loads(body)

    def events(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def counted(self, name: str) -> float:
        """A metric's value, summed over its labels."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition("{")[0].partition(" ")[0] == name)

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def stop(self) -> int:
        """Asks it to stop as an operator does; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@contextlib.contextmanager
def running(
    folder: Path, repository: Path, *arguments: object, wait: bool = True, code: str = ADROIT
) -> Iterator[Server]:
    """`adroit serve repository`, on free ports; killed at the end if it has not stopped.

    Args:
        folder: for its log.
        wait: until it is ready.
        code: what Python runs, with the command line's arguments.
    """
    log = folder / "server.log"
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    command = [sys.executable, "-c", code, "serve", str(repository), *ports, "--threads", "1", "--json"]
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        assert process.stdout is not None
        told = ""
        while "}" not in told:
            line = process.stdout.readline()
            assert line, log.read_text()
            told += line
        addresses = json.loads(told)
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


def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Waits for it to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def until_ready(server: Server) -> None:
    end = time.monotonic() + READY_WITHIN
    while server.get("/v2/health/ready")[0] != 200:
        assert server.process.poll() is None and time.monotonic() < end, server.log.read_text()
        time.sleep(0.05)
