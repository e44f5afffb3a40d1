"""Helpers of the serving benchmarks: a server on a core of its own, and a plain HTTP client."""

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
    """A server's process, its addresses ("host:port"), and the seconds from its start until it was ready."""

    process: int
    http: str
    grpc: str
    metrics: str
    ready_seconds: float

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of all threads."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def runtime_seconds(self) -> float:
        """Return the CPU seconds of networks and preprocessing, as the server counts them."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics") as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("adroit_runtime_cpu_seconds_total"))

    def resident_mib(self) -> float:
        """Return the resident memory in MiB."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def executions(self, model: str) -> int:
        """Return the number of executions of a model."""
        with urllib.request.urlopen(f"http://{self.http}/v2/models/{model}/stats") as response:
            return int(json.load(response)["model_stats"][0]["execution_count"])


@contextlib.contextmanager
def served(deployment: Path, *options: object) -> Iterator[Served]:
    """Run a server on its core with one thread for each runtime, until it is ready."""
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
            text = ""
            while "}" not in text:
                text += process.stdout.readline()
            addresses = {name: where.rpartition("//")[2].partition("/")[0] for name, where in json.loads(text).items()}
            while True:
                with (
                    contextlib.suppress(OSError),
                    urllib.request.urlopen(f"http://{addresses['http']}/v2/health/ready"),
                ):
                    break
                time.sleep(0.02)
            yield Served(process.pid, **addresses, ready_seconds=time.monotonic() - started)
        finally:
            process.terminate()
            process.wait()


def http_message(
    address: str, model: str, images: np.ndarray, outputs: tuple[str, ...] = (), **parameters: Any
) -> bytes:
    """Return a whole HTTP request for `images`, uint8 [N,H,W,3] or float32 [N,C,H,W]; outputs come as bytes."""
    tensor = {"name": "image", "datatype": DATATYPES[images.dtype.str], "shape": images.shape}
    tensor["parameters"] = {"binary_data_size": images.nbytes}
    request: dict[str, Any] = {"inputs": [tensor], "parameters": {"binary_data_output": True, **parameters}}
    if outputs:
        request["outputs"] = [{"name": name} for name in outputs]
    head = json.dumps(request).encode()
    text = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(head) + images.nbytes}\r\n"
        f"Inference-Header-Content-Length: {len(head)}\r\n\r\n"
    )
    return text.encode() + head + images.tobytes()


class HttpConnection:
    """A persistent connection: the first request opens it, and again where the server ended it, `reopened` times."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self.reopened = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        """Connect."""
        self._streams = await asyncio.open_connection(self._host, int(self._port), limit=1 << 24)

    async def send(self, message: bytes) -> tuple[int, bytes]:
        """Send a request, again where the server had ended the idle connection; return status and body."""
        try:
            if self._streams is not None:
                try:
                    return await self._exchange(message)
                except asyncio.IncompleteReadError as error:
                    if error.partial:
                        raise
                except ConnectionError:
                    pass
                self.reopened += 1
            await self.open()
            return await self._exchange(message)
        except BaseException:
            self.close()
            raise

    async def _exchange(self, message: bytes) -> tuple[int, bytes]:
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
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
