"""Serving deployments: by a server of our own, by Triton, by KServe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from adroit.api.arguments import PathLike, RuntimeArguments, runtime_options
from adroit.deploy.extras import require
from adroit.errors import UsageError

if TYPE_CHECKING:
    from adroit.deploy.serve.options import Limits, Security
    from adroit.deploy.serve.server import Addresses


class ServerArguments(TypedDict, total=False):
    """How a server is secured, and what clients may do.

    Attributes:
        token_file: a file of one line, the token that clients must send (Authorization: Bearer ...).
        certificate, key: PEM files, to serve by TLS; both or neither.
        model_control: clients may load and unload deployments.
        shared_memory: clients on this machine may name regions of /dev/shm for tensors.
    """

    token_file: PathLike | None
    certificate: PathLike | None
    key: PathLike | None
    model_control: bool
    shared_memory: bool


def serve(
    repository: PathLike,
    *,
    models: Sequence[str] = (),
    host: str = "127.0.0.1",
    http_port: int | None = 8000,
    grpc_port: int | None = 8001,
    metrics_port: int | None = 8002,
    instances: int = 1,
    limits: Limits | None = None,
    security: ServerArguments | None = None,
    floor_gflops: float | None = None,
    classes: PathLike | None = None,
    page: bool = False,
    on_start: Callable[[Addresses], None] = lambda addresses: None,
    **runtime: Unpack[RuntimeArguments],
) -> None:
    """Serves deployments by the Open Inference Protocol (V2), over HTTP and gRPC, until a signal to stop.

    Args:
        repository: a folder of deployments, or one deployment.
        models: names of deployments to serve; all if empty.
        host: address to listen at; "0.0.0.0" opens the server to all.
        http_port, grpc_port, metrics_port: 0 is any free port, None leaves that server out.
        instances: runtimes of each network, each with its own thread.
        limits: what one request, one queue and the whole server may take; see deploy/serve/options.py.
        security: see ServerArguments.
        floor_gflops: under load, lower budgets to so many operations / 1e9 an image before refusing.
        classes: TOML file: what an image of each class of clients may cost. page: a web page at the HTTP address.
        on_start: called with the addresses once the server listens, before deployments are loaded.
        runtime: see RuntimeArguments.

    Raises:
        UsageError: an empty repository, a file that cannot be read, or an address that is taken.
        EnvironmentFault: the packages of the extra `serve` are not installed.

    >>> adroit.serve("repository", http_port=8000, page=True)  # doctest: +SKIP
    """
    require("serve", "`adroit serve`")
    import uvloop

    from adroit.deploy.serve.cost_classes import CostClasses
    from adroit.deploy.serve.observe.log import start_logging
    from adroit.deploy.serve.options import Limits, ServeOptions
    from adroit.deploy.serve.server import serve as serve_repository

    options = ServeOptions(
        Path(repository),
        tuple(models),
        *(host, http_port, grpc_port, metrics_port),
        instances=instances,
        runtime=runtime_options(**runtime),
        limits=limits or Limits(),
        floor_gflops=floor_gflops,
        classes=CostClasses.read(Path(classes)) if classes else CostClasses(),
        security=_security(**(security or {})),
        page=page,
    )
    start_logging()
    uvloop.run(serve_repository(options, on_start))


def _security(**given: Unpack[ServerArguments]) -> Security:
    from adroit.deploy.serve.options import Security

    certificate, key, token = given.get("certificate"), given.get("key"), given.get("token_file")
    if (certificate is None) != (key is None):
        raise UsageError("a certificate and its key belong together", hint="give --certificate and --key")
    return Security(
        _read_token(Path(token)) if token else None,
        Path(certificate) if certificate else None,
        Path(key) if key else None,
        given.get("model_control", False),
        given.get("shared_memory", False),
    )


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the token in {path}", facts={"reason": error}) from error
    if not token:
        raise UsageError(f"{path} holds no token", hint="write one line of text into it")
    return token


def triton_command(repository: PathLike) -> str:
    """Returns the shell command that serves a repository by a full Triton, and as comments what it needs.

    Raises:
        UsageError: a folder without deployments, or one that Triton cannot serve.

    >>> "tritonserver" in adroit.triton_command("repository")
    True
    """
    from adroit.deploy.triton.command import triton_command as command

    return command(Path(repository))


def kserve_resources(repository: PathLike, *, image: str, storage: str, name: str = "adroit") -> str:
    """Returns KServe's resources (YAML) that serve a repository on Kubernetes.

    Args:
        repository: a folder of deployments, as it is here.
        image: a container image with Triton and our libraries of operators.
        storage: URI by which KServe gets the repository: s3://..., pvc://..., oci://...
        name: of the service.

    Raises:
        UsageError: a folder without deployments, or one that Triton cannot serve.

    >>> yaml = adroit.kserve_resources("repository", image="registry/triton:1", storage="pvc://models/repository")
    >>> "InferenceService" in yaml
    True
    """
    from adroit.deploy.triton.kserve import kserve_resources as resources

    return resources(Path(repository), image, storage, name)
