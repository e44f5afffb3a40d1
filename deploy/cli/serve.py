"""The command `adroit serve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import adroit
from adroit import files
from adroit.deploy.cli.options import AllowHostCode, AsJson, BuildVersion, CudaGraph, Operators, Provider, Threads
from adroit.deploy.runtimes.choices import OperatorForm, RuntimeName

if TYPE_CHECKING:
    from adroit.deploy.serve.server import Addresses

Port = Annotated[int, typer.Option(min=-1, max=65535, help="0 is any free port, -1 leaves it out.")]


def serve(
    repository: Annotated[
        Path, typer.Argument(metavar="REPOSITORY", help="A folder of deployments, or one deployment.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 opens the server to the network.")] = (
        "127.0.0.1"
    ),
    http_port: Port = 8000,
    grpc_port: Port = 8001,
    metrics_port: Port = 8002,
    model: Annotated[
        list[str] | None, typer.Option(help="Serve this deployment; repeat for more. All if none.")
    ] = None,
    runtime: Annotated[RuntimeName, typer.Option(help="What runs the networks.")] = RuntimeName.onnxruntime,
    instances: Annotated[int, typer.Option(min=1, max=64, help="Runtimes of each network.")] = 1,
    threads: Threads = None,
    operators: Operators = OperatorForm.native,
    provider: Provider = None,
    build: BuildVersion = None,
    cuda_graph: CudaGraph = False,
    allow_host_code: AllowHostCode = False,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Samples that run together at most.")] = 16,
    delay: Annotated[
        float, typer.Option(min=0.0, max=1000.0, help="Milliseconds that a request waits for others to run with.")
    ] = 0.0,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait for each network.")] = 64,
    queue_seconds: Annotated[
        float, typer.Option(min=0.001, help="That a request may wait for its turn; with --floor-gflops, its answer.")
    ] = 10.0,
    receive_seconds: Annotated[
        float, typer.Option(min=0.1, help="For a client to send a request, and to take its answer.")
    ] = 20.0,
    body_mib: Annotated[int, typer.Option(min=1, max=1024, help="The largest request, in MiB.")] = 64,
    pending_mib: Annotated[
        int,
        typer.Option(
            min=1,
            help="All requests received or waiting, in MiB; those of gRPC on their way: twice that.",
        ),
    ] = 512,
    grpc_calls: Annotated[int, typer.Option(min=1, help="gRPC calls at a time.")] = 256,
    floor_gflops: Annotated[
        float | None,
        typer.Option(min=0.0, help="Under load, lower budgets to so many operations / 1e9 an image before refusing."),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="TOML file: what an image of each class of clients may cost at most.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with a token that clients must send (Authorization: Bearer ...).")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file: serve by TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file: the certificate's key.")] = None,
    model_control: Annotated[
        bool, typer.Option("--model-control", help="Let clients load and unload deployments of REPOSITORY.")
    ] = False,
    shared_memory: Annotated[
        bool, typer.Option("--shared-memory", help="Let clients here name regions of /dev/shm for tensors.")
    ] = False,
    page: Annotated[
        bool, typer.Option("--page", help="A web page at the HTTP address, on which people try the networks.")
    ] = False,
    print_triton_command: Annotated[
        bool, typer.Option("--print-triton-command", help="Check REPOSITORY for a full Triton, print how to start it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve deployments by the Open Inference Protocol (V2), over HTTP and gRPC, until a signal to stop."""
    if print_triton_command:
        print(adroit.triton_command(repository))
        return
    from adroit.deploy.serve.options import MIB, Limits

    adroit.serve(
        repository,
        models=model or (),
        host=host,
        http_port=_port(http_port),
        grpc_port=_port(grpc_port),
        metrics_port=_port(metrics_port),
        instances=instances,
        limits=Limits(
            body_bytes=body_mib * MIB, pending_bytes=pending_mib * MIB, queue_requests=queue,
            queue_seconds=queue_seconds, batch=batch, delay_seconds=delay / 1000,
            receive_seconds=receive_seconds, calls=grpc_calls,
        ),
        security={
            "token_file": token_file, "certificate": certificate, "key": key,
            "model_control": model_control, "shared_memory": shared_memory,
        },
        floor_gflops=floor_gflops,
        classes=classes,
        page=page,
        on_start=lambda addresses: _print_addresses(addresses, certificate is not None, as_json),
        runtime=runtime,
        operators=operators,
        threads=threads,
        providers=provider,
        version=build,
        cuda_graph=cuda_graph,
        allow_host_code=allow_host_code,
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
