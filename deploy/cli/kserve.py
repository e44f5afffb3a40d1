"""The command `adroit kserve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import adroit


def kserve(
    repository: Annotated[Path, typer.Argument(metavar="REPOSITORY", help="A folder of deployments.")],
    image: Annotated[
        str, typer.Option(metavar="IMAGE", help="Container image with Triton and the libraries that its command names.")
    ],
    storage: Annotated[
        str, typer.Option(metavar="URI", help="Where KServe gets the repository: s3://..., pvc://..., oci://...")
    ],
    name: Annotated[str, typer.Option(help="The service's name.")] = "adroit",
) -> None:
    """Check REPOSITORY for a full Triton, print KServe's resources (YAML) to serve it on Kubernetes."""
    print(adroit.kserve_resources(repository, image=image, storage=storage, name=name), end="")
