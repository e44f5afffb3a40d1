"""The protocol's reference: a real Triton, with our runtimes behind its Python backend.

ADROIT_TRITONSERVER names a folder into which the wheel nvidia-pytriton was unpacked (it is not to be
installed: it wants an old NumPy). Its server is Triton 2.51, without backends but that for Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf import text_format

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.names import DESCRIPTION_FILE
from adroit.deploy.deployment.triton_configuration import triton_config
from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.runtimes.choices import OperatorForm

VARIABLE = "ADROIT_TRITONSERVER"
MODEL = """
import json, os, site, sys
from pathlib import Path
settings = json.loads({settings!r})
for folder in settings["packages"]:
    site.addsitedir(folder)
sys.path[:0] = settings["path"]
import numpy as np
import triton_python_backend_utils as triton
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.open import RuntimeOptions, open_runtime


class TritonPythonModel:
    def initialize(self, arguments):
        self.deployment = Deployment.read(Path(settings["deployment"]))
        options = RuntimeOptions(threads=1, operators=OperatorForm(settings["operators"]))
        self.runtime = open_runtime(self.deployment, options)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        # By DLPack: the backend was built for an older NumPy, and would see arrays of no bytes.
        given = {{s.name: triton.get_input_tensor_by_name(request, s.name) for s in self.deployment.info.inputs}}
        feeds = {{name: np.from_dlpack(tensor).copy() for name, tensor in given.items()}}
        outputs = self.runtime.run(feeds)
        return triton.InferenceResponse(
            [triton.Tensor.from_dlpack(name, np.ascontiguousarray(value)) for name, value in outputs.items()]
        )
"""


@dataclass(frozen=True)
class Oracle:
    """The addresses of a running Triton, "host:port"."""

    http: str
    grpc: str


@contextlib.contextmanager
def running_oracle(folder: Path, repository: Path, operators: OperatorForm) -> Iterator[Oracle]:
    """Run a Triton on the models of `repository`, with the configurations that adroit writes."""
    wheel = unpacked_wheel()
    for path in sorted(repository.glob(f"*/{DESCRIPTION_FILE}")):
        deployment = Deployment.read(path.parent)
        write_model(folder / "models" / deployment.path.name, deployment, operators, triton_config(deployment.info))
    with running_triton(folder, wheel) as oracle:
        yield oracle


def unpacked_wheel() -> Path:
    """Return the folder of the wheel; skip the test where there is none."""
    if VARIABLE not in os.environ:
        pytest.skip(f"no Triton to compare with: {VARIABLE} names no folder (tests/deploy/serve/oracle.py)")
    return Path(os.environ[VARIABLE])


@contextlib.contextmanager
def running_triton(folder: Path, wheel: Path) -> Iterator[Oracle]:
    """Run a Triton on the models under folder/models; its log is folder/triton.log."""
    models = folder / "models"
    ports = [_free_port() for _ in range(3)]
    names = ("--http-port", "--grpc-port", "--metrics-port")
    command = [
        wheel / "pytriton/tritonserver/bin/tritonserver", f"--model-repository={models}",
        f"--backend-directory={_backends(folder, wheel)}", "--model-control-mode=explicit", "--load-model=*",
        "--exit-timeout-secs=2", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1",
        "--disable-auto-complete-config", *(f"{name}={port}" for name, port in zip(names, ports, strict=True)),
    ]  # fmt: skip
    libraries = f"{sysconfig.get_config_var('LIBDIR')}:{wheel / 'nvidia_pytriton.libs'}"
    log = folder / "triton.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "LD_LIBRARY_PATH": libraries}
        )
    try:
        oracle = Oracle(f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}")
        end = time.monotonic() + 240
        while not _ready(oracle):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield oracle
    finally:
        process.terminate()
        process.wait(120)


def write_model(folder: Path, deployment: Deployment, operators: OperatorForm, text: str) -> None:
    """Write a model named as `folder`, with the configuration `text`, for the Python backend."""
    config = text_format.Parse(text, pb.ModelConfig())
    config.backend, config.name = "python", folder.name
    config.ClearField("model_operations")
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
    (folder / "1" / "model.py").write_text(model_code(deployment, operators))


def model_code(deployment: Deployment, operators: OperatorForm) -> str:
    """Return the program with which the Python backend runs a deployment."""
    settings = {
        "packages": [sysconfig.get_path("purelib")],
        "path": [path for path in sys.path if path],
        "deployment": str(deployment.path),
        "operators": operators.value,
    }
    return MODEL.format(settings=json.dumps(settings))


def _backends(folder: Path, wheel: Path) -> Path:
    """Copy the Python backend, with the stub of this Python beside it; return the folder of backends."""
    triton, backend = wheel / "pytriton/tritonserver", folder / "backends" / "python"
    backend.mkdir(parents=True)
    stub = triton / f"python_backend_stubs/{sys.version_info.major}.{sys.version_info.minor}/triton_python_backend_stub"
    for file in (*(triton / "backends/python").glob("*tri*"), stub):
        shutil.copy(file, backend)  # a link would lead out of the folder, which Triton refuses
    return backend.parent


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _ready(oracle: Oracle) -> bool:
    try:
        with urllib.request.urlopen(f"http://{oracle.http}/v2/health/ready", timeout=60) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
