"""What the benchmarks of serving share: a server on a core of its own, and the plainest client of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SERVER_CORE, CLIENT_CORE = 0, (os.cpu_count() or 1) - 1
DATATYPES = {"|u1": "UINT8", "<f4": "FP32"}
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Served:
    """A server's process, where it listens ("host:port"), and the seconds from its start until it was ready."""

    process: int
    http: str
    grpc: str
    metrics: str
    ready_seconds: float

    def cpu_seconds(self) -> float:
        """Of all of its threads."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def runtime_seconds(self) -> float:
        """CPU of the networks and the preprocessing before them, as the server counts it."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics") as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("adroit_runtime_cpu_seconds_total"))

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def executions(self, model: str) -> int:
        with urllib.request.urlopen(f"http://{self.http}/v2/models/{model}/stats") as response:
            return int(json.load(response)["model_stats"][0]["execution_count"])


@contextlib.contextmanager
def served(deployment: Path, *options: object) -> Iterator[Served]:
    """A server on its core with one thread a runtime, ready."""
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    command = [
        sys.executable,
        "-c",
        "from adroit.deploy.cli.main import main; main()",
        "serve",
        str(deployment),
        *ports,
    ]
    started = time.monotonic()
    with tempfile.TemporaryFile("w") as log:
        process = subprocess.Popen(
            [*command, "--threads", "1", "--json", *map(str, options)], stdout=subprocess.PIPE, stderr=log, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
        )  # fmt: skip
        try:
            assert process.stdout is not None
            told = ""
            while "}" not in told:
                told += process.stdout.readline()
            places = {name: where.rpartition("//")[2].partition("/")[0] for name, where in json.loads(told).items()}
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{places['http']}/v2/health/ready"):
                    break
                time.sleep(0.02)
            yield Served(process.pid, **places, ready_seconds=time.monotonic() - started)
        finally:
            process.terminate()
            process.wait()


def http_message(
    address: str, model: str, images: np.ndarray, outputs: tuple[str, ...] = (), **parameters: Any
) -> bytes:
    """A whole request for the inference of `images`, uint8 [N,H,W,3] or float32 [N,C,H,W]; answers come as bytes."""
    tensor = {"name": "image", "datatype": DATATYPES[images.dtype.str], "shape": images.shape}
    tensor["parameters"] = {"binary_data_size": images.nbytes}
    asked: dict[str, Any] = {"inputs": [tensor], "parameters": {"binary_data_output": True, **parameters}}
    if outputs:
        asked["outputs"] = [{"name": name} for name in outputs]
    head = json.dumps(asked).encode()
    text = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(head) + images.nbytes}\r\n"
        f"Inference-Header-Content-Length: {len(head)}\r\n\r\n"
    )
    return text.encode() + head + images.tobytes()


class HttpConnection:
    """One kept connection; opened by the first request, and again where the server ended it (so often)."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self.reopened = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        self._streams = await asyncio.open_connection(self._host, int(self._port), limit=1 << 24)

    async def ask(self, message: bytes) -> tuple[int, bytes]:
        """Status and body; asks again where the server had ended the connection while it was idle."""
        try:
            if self._streams is not None:
                try:
                    return await self._asked(message)
                except asyncio.IncompleteReadError as error:
                    if error.partial:
                        raise
                except ConnectionError:
                    pass
                self.reopened += 1
            await self.open()
            return await self._asked(message)
        except BaseException:
            self.close()
            raise

    async def _asked(self, message: bytes) -> tuple[int, bytes]:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(message)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length"))
        body = await reader.readexactly(int(length.split()[1]))
        if b"\r\nconnection: close" in answer:
            self.close()
        return int(answer.split()[1]), body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
