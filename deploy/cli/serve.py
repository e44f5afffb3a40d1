"""The command `adroit serve`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import adroit
from adroit import files
from adroit.deploy.cli.options import AllowHostCode, AsJson, BuildVersion, CudaGraph, Operators, Provider, Threads
from adroit.deploy.cli.serve_options import (
    BatchSize,
    BodyMib,
    Certificate,
    Classes,
    DelayMilliseconds,
    FloorGflops,
    GrpcCalls,
    Host,
    Instances,
    ModelControl,
    Models,
    PendingMib,
    Port,
    PrintTritonCommand,
    PrivateKey,
    Queue,
    QueueSeconds,
    ReceiveSeconds,
    Repository,
    Runtime,
    SharedMemory,
    TokenFile,
    WithPage,
)
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName

if TYPE_CHECKING:
    from adroit.deploy.serve.server import Addresses


def serve(
    repository: Repository,
    host: Host = "127.0.0.1",
    http_port: Port = 8000,
    grpc_port: Port = 8001,
    metrics_port: Port = 8002,
    model: Models = None,
    runtime: Runtime = RuntimeName.onnxruntime,
    instances: Instances = 1,
    threads: Threads = None,
    operators: Operators = OperatorForm.native,
    provider: Provider = None,
    build: BuildVersion = None,
    cuda_graph: CudaGraph = False,
    allow_host_code: AllowHostCode = False,
    batch: BatchSize = 16,
    delay: DelayMilliseconds = 0.0,
    queue: Queue = 64,
    queue_seconds: QueueSeconds = 10.0,
    receive_seconds: ReceiveSeconds = 20.0,
    body_mib: BodyMib = 64,
    pending_mib: PendingMib = 512,
    grpc_calls: GrpcCalls = 256,
    floor_gflops: FloorGflops = None,
    classes: Classes = None,
    token_file: TokenFile = None,
    certificate: Certificate = None,
    key: PrivateKey = None,
    model_control: ModelControl = False,
    shared_memory: SharedMemory = False,
    page: WithPage = False,
    print_triton_command: PrintTritonCommand = False,
    as_json: AsJson = False,
) -> None:
    """Serve deployments by the Open Inference Protocol (V2), over HTTP and gRPC, until a signal to stop."""
    if print_triton_command:
        print(adroit.triton_command(repository))
        return
    from adroit.deploy.serve.options import MIB, Limits

    limits = Limits(
        body_bytes=body_mib * MIB, pending_bytes=pending_mib * MIB, queue_requests=queue, queue_seconds=queue_seconds,
        batch=batch, delay_seconds=delay / 1000, receive_seconds=receive_seconds, calls=grpc_calls,
    )  # fmt: skip
    adroit.serve(
        repository, models=model or (), host=host, http_port=_port(http_port), grpc_port=_port(grpc_port),
        metrics_port=_port(metrics_port), instances=instances, limits=limits,
        security={
            "token_file": token_file, "certificate": certificate, "key": key,
            "model_control": model_control, "shared_memory": shared_memory,
        },
        floor_gflops=floor_gflops, classes=classes, page=page,
        on_start=lambda addresses: _print_addresses(addresses, certificate is not None, as_json),
        runtime=runtime, operators=operators, threads=threads, providers=provider, version=build,
        cuda_graph=cuda_graph, allow_host_code=allow_host_code,
    )  # fmt: skip


def _port(number: int) -> int | None:
    return None if number < 0 else number


def _print_addresses(addresses: Addresses, encrypted: bool, as_json: bool) -> None:
    scheme = "https" if encrypted else "http"
    urls = {
        "http": addresses.http and f"{scheme}://{addresses.http}",
        "grpc": addresses.grpc,
        "metrics": addresses.metrics and f"http://{addresses.metrics}/metrics",
    }
    if as_json:
        print(files.json_text(urls), end="", flush=True)
    else:
        print("listening: " + ", ".join(f"{name} {url}" for name, url in urls.items() if url), flush=True)
    sys.stdout.flush()
