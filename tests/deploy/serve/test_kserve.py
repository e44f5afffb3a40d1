"""KServe's resources for a repository, checked against the schemas of KServe.

ADROIT_KSERVE_CRDS names a folder with KServe's CustomResourceDefinitions as YAML files (those of
ServingRuntime and InferenceService, as its repository has them under config/crd/full).
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.triton_configuration import PLAN_CONFIG, TENSORRT_LIBRARY, plan_config
from adroit.deploy.triton.kserve import kserve_resources
from adroit.deploy.triton.needs import OLDEST
from adroit.errors import UsageError
from tests.conftest import Adroit
from tests.deploy.records import rewritten
from tests.deploy.serve.test_triton import RECORD

VARIABLE = "ADROIT_KSERVE_CRDS"
IMAGE = "example/triton-with-adroit:1"
STORAGE = r"pvc://models/street-\"1\"#\n"  # YAML must not read these as syntax

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install '.[dev]'")


def with_plan(repository: Path, folder: Path) -> Path:
    """A copy in which one deployment has a version-compatible plan."""
    deployment = Deployment.read(shutil.copytree(repository, folder) / "adder-resnet20")
    (deployment.path / PLAN_CONFIG).parent.mkdir()
    (deployment.path / PLAN_CONFIG).write_text(plan_config(deployment.info, 2, RECORD))
    rewritten(deployment, builds={"2": msgspec.structs.replace(RECORD, version_compatible=True)})
    return folder


def resources(repository: Path) -> list[Any]:
    return list(yaml.safe_load_all(kserve_resources(repository, IMAGE, STORAGE, "street")))


def test_the_runtime_starts_triton_as_the_command_does(repository: Path) -> None:
    runtime, service = resources(repository)
    (container,) = runtime["spec"]["containers"]
    assert container["env"] == [{"name": "ORT_DISABLE_TELEMETRY", "value": "1"}]
    assert container["args"] == [
        "tritonserver", "--model-repository=/mnt/models", "--model-control-mode=none",
        "--disable-auto-complete-config", "--exit-timeout-secs=20", "--http-port=8080", "--grpc-port=9000",
    ]  # fmt: skip
    model = service["spec"]["predictor"]["model"]
    assert (container["image"], model["storageUri"]) == (IMAGE, STORAGE)
    assert model["runtime"] == runtime["metadata"]["name"]
    formats = [each["name"] for each in runtime["spec"]["supportedModelFormats"]]
    assert model["modelFormat"]["name"] in formats
    assert "resources" not in model
    assert OLDEST in kserve_resources(repository, IMAGE, STORAGE, "street")


def test_plans_request_a_gpu_and_get_their_plugins(repository: Path, tmp_path: Path) -> None:
    runtime, service = resources(with_plan(repository, tmp_path / "planned"))
    assert service["spec"]["predictor"]["model"]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    flags = runtime["spec"]["containers"][0]["args"]
    assert [flag for flag in flags if flag.startswith("--backend-config")] == [
        f"--backend-config=tensorrt,plugins={TENSORRT_LIBRARY}",
        "--backend-config=tensorrt,version-compatible=true",
    ]


def test_the_command_prints_them(repository: Path, adroit: Adroit) -> None:
    result = adroit("kserve", repository, "--image", IMAGE, "--storage", STORAGE, "--name", "street")
    assert (result.code, result.out) == (0, kserve_resources(repository, IMAGE, STORAGE, "street")), result.err
    assert result.out.endswith("\n")


@pytest.mark.parametrize(("name", "storage"), [("Street", STORAGE), ("-a", STORAGE), ("a" * 41, STORAGE), ("a", "/x")])
def test_what_kubernetes_would_not_take_is_refused(name: str, storage: str, repository: Path) -> None:
    with pytest.raises(UsageError) as refused:
        kserve_resources(repository, IMAGE, storage, name)
    assert refused.value.hint


# ---- the schemas ----


@pytest.fixture(scope="module")
def validators() -> dict[str, Any]:
    """Return validators by kind, which refuse unknown fields, as the schemas themselves do not."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed: pip install '.[dev]'")
    if VARIABLE not in os.environ:
        pytest.skip(f"no schemas of KServe to check against: {VARIABLE} names no folder (see this file's beginning)")
    validators_by_kind = {}
    for path in Path(os.environ[VARIABLE]).glob("*.yaml"):
        definition = yaml.safe_load(path.read_text())
        if definition.get("kind") != "CustomResourceDefinition":
            continue
        for version in definition["spec"]["versions"]:
            kind = f"{definition['spec']['group']}/{version['name']} {definition['spec']['names']['kind']}"
            validators_by_kind[kind] = jsonschema.Draft202012Validator(strict(version["schema"]["openAPIV3Schema"]))
    return validators_by_kind


def strict(schema: Any) -> Any:
    """Convert Kubernetes' schema to JSON Schema: numbers or texts, and no fields but the named ones."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string") is True:
        return {"type": ["integer", "string"]}
    fixed = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if fixed and "additionalProperties" not in schema and "x-kubernetes-preserve-unknown-fields" not in schema:
        result["additionalProperties"] = False
    return result


def errors(validators: dict[str, Any], resource: Any) -> list[str]:
    validator = validators[f"{resource['apiVersion']} {resource['kind']}"]
    return [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(resource)]


@pytest.mark.parametrize("planned", [False, True])
def test_they_are_as_kserve_defines_them(
    planned: bool, validators: dict[str, Any], repository: Path, tmp_path: Path
) -> None:
    folder = with_plan(repository, tmp_path / "planned") if planned else repository
    found_errors = {resource["kind"]: errors(validators, resource) for resource in resources(folder)}
    assert found_errors == {"ServingRuntime": [], "InferenceService": []}


FAULTS = {
    "a misspelt field": ("containers", "container"),
    "a misspelt field deep inside": ("runAsNonRoot", "runAsNonroot"),
    "a text for a list": ('["v2", "grpc-v2"]', '"v2"'),
    "a field in other letters": ("storageUri", "storageURI"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_check_finds_faults(fault: str, validators: dict[str, Any], repository: Path) -> None:
    good = resources(repository)
    bad = json.loads(json.dumps(copy.deepcopy(good)).replace(*FAULTS[fault]))
    assert bad != good
    assert any(errors(validators, resource) for resource in bad)
