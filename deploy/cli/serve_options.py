"""Options of `adroit serve`, with one text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adroit.deploy.runtimes.choices import RuntimeName

Port = Annotated[int, typer.Option(min=-1, max=65535, help="0 is any free port, -1 leaves it out.")]
Repository = Annotated[Path, typer.Argument(metavar="REPOSITORY", help="A folder of deployments, or one deployment.")]
Host = Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 opens the server to the network.")]
Models = Annotated[list[str] | None, typer.Option(help="Serve this deployment; repeat for more. All if none.")]
Runtime = Annotated[RuntimeName, typer.Option(help="What runs the networks.")]
Instances = Annotated[int, typer.Option(min=1, max=64, help="Runtimes of each network.")]
BatchSize = Annotated[int, typer.Option(min=1, max=1024, help="Samples that run together at most.")]
DelayMilliseconds = Annotated[
    float, typer.Option(min=0.0, max=1000.0, help="Milliseconds that a request waits for others to run with.")
]
Queue = Annotated[int, typer.Option(min=1, help="Requests that may wait for each network.")]
QueueSeconds = Annotated[
    float, typer.Option(min=0.001, help="That a request may wait for its turn; with --floor-gflops, its answer.")
]
ReceiveSeconds = Annotated[float, typer.Option(min=0.1, help="For a client to send a request, and to take its answer.")]
BodyMib = Annotated[int, typer.Option(min=1, max=1024, help="The largest request, in MiB.")]
PendingMib = Annotated[
    int,
    typer.Option(
        min=1,
        help="All requests received or waiting, in MiB; those of gRPC on their way: twice that.",
    ),
]
GrpcCalls = Annotated[int, typer.Option(min=1, help="gRPC calls at a time.")]
FloorGflops = Annotated[
    float | None,
    typer.Option(min=0.0, help="Under load, lower budgets to so many operations / 1e9 an image before refusing."),
]
Classes = Annotated[
    Path | None, typer.Option(help="TOML file: what an image of each class of clients may cost at most.")
]
TokenFile = Annotated[
    Path | None, typer.Option(help="A file with a token that clients must send (Authorization: Bearer ...).")
]
Certificate = Annotated[Path | None, typer.Option(help="PEM file: serve by TLS.")]
PrivateKey = Annotated[Path | None, typer.Option(help="PEM file: the certificate's key.")]
ModelControl = Annotated[
    bool, typer.Option("--model-control", help="Let clients load and unload deployments of REPOSITORY.")
]
SharedMemory = Annotated[
    bool, typer.Option("--shared-memory", help="Let clients here name regions of /dev/shm for tensors.")
]
WithPage = Annotated[
    bool, typer.Option("--page", help="A web page at the HTTP address, on which people try the networks.")
]
PrintTritonCommand = Annotated[
    bool, typer.Option("--print-triton-command", help="Check REPOSITORY for a full Triton, print how to start it.")
]
