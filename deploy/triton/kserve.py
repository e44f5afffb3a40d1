"""A repository on Kubernetes: KServe's InferenceService, and the ServingRuntime of our own that it runs in.

KServe's own runtime for Triton is older than what is safe to serve with, and has not our libraries of
operators. Checked against the schemas of KServe's resources (tests/deploy/serve/test_kserve.py); no cluster was tried.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from string import Template

from adroit.deploy.runtimes.onnxruntime_package import VARIABLE
from adroit.deploy.triton.needs import TritonNeeds
from adroit.errors import UsageError

# Where KServe lays what it has fetched from the storage, and the port that it asks at.
_FOLDER, _HTTP_PORT, _GRPC_PORT = "/mnt/models", 8080, 9000
_ONE_GPU = '\n      resources:\n        limits: {nvidia.com/gpu: "1"}'
# A label of DNS, as Kubernetes wants names; KServe puts its own words behind it.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


def kserve_resources(repository: Path, image: str, storage: str, name: str) -> str:
    """Both resources as YAML, for `kubectl apply -f -`.

    Args:
        image: of a container with a Triton Inference Server and our libraries of operators.
        storage: a URI by which KServe gets the repository.
        name: of the service; the runtime's is made from it.

    Raises:
        UsageError: a name or URI that Kubernetes or KServe would not take; or as TritonNeeds.of.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a service", hint="1 to 40 lower-case letters, digits and '-', a letter first"
        )
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", storage):
        raise UsageError(f"{storage!r} is no URI", hint="such as pvc://CLAIM/repository or s3://BUCKET/repository")
    needs = TritonNeeds.of(repository)
    words = [*needs.words(_FOLDER), f"--http-port={_HTTP_PORT}", f"--grpc-port={_GRPC_PORT}"]
    template = Template(
        (resources.files("adroit.deploy.triton") / "templates" / "kserve.yaml").read_text(encoding="utf-8")
    )
    # Text of JSON is text of YAML, whatever is in it.
    return template.substitute(
        notes="\n".join(f"# {note}" for note in needs.notes),
        models=", ".join(needs.models),
        words="\n".join(f"        - {json.dumps(word)}" for word in words),
        image=json.dumps(image),
        telemetry=VARIABLE,
        storage=json.dumps(storage),
        name=json.dumps(name),
        runtime=json.dumps(f"{name}-triton"),
        resources=_ONE_GPU if needs.plans else "",
    )
