"""The repository as a full Triton reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from adroit.deploy.deployment.builds import Range
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.triton_configuration import (
    ONNXRUNTIME_LIBRARY,
    PLAN_CONFIG,
    TENSORRT_LIBRARY,
    plan_config,
    triton_config,
)
from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.triton.lint import lint
from tests.conftest import Adroit
from tests.deploy.records import plan_record
from tests.deploy.serve.oracle import model_code, running_triton, unpacked_wheel, write_model
from tests.deploy.serve.test_conformance import FAMILIES

pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: pip install '.[dev]'")

import tritonclient.http
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

RECORD = plan_record(
    profiles={
        "small": {"image": Range((1, 3, 32, 32), (4, 3, 32, 32), (8, 3, 32, 32))},
        "large": {"image": Range((1, 3, 64, 64), (1, 3, 64, 64), (2, 3, 64, 64))},
    }
)


def parsed(text: str) -> model_config_pb2.ModelConfig:
    """Parse a configuration by Triton's own schema: every field is one of its fields."""
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_configuration_is_one_of_triton(family: str, repository: Path) -> None:
    deployment = Deployment.read(repository / family)
    config = parsed((deployment.path / "config.pbtxt").read_text())
    assert (config.name, config.backend, config.max_batch_size) == (deployment.info.name, "onnxruntime", 16)
    assert list(config.model_operations.op_library_filename) == [ONNXRUNTIME_LIBRARY]
    for tensor, spec in zip(
        (*config.input, *config.output), (*deployment.info.inputs, *deployment.info.outputs), strict=True
    ):
        assert tensor.name == spec.name
        assert model_config_pb2.DataType.Name(tensor.data_type) == "TYPE_FP32"
        dims = [1] if spec.name == "gate_threshold" else [d if isinstance(d, int) else -1 for d in spec.shape[1:]]
        assert list(tensor.dims) == dims
        if spec.name == "gate_threshold":
            assert tensor.HasField("reshape") and not tensor.reshape.shape
    (warmup,) = config.model_warmup
    assert set(warmup.inputs) == {spec.name for spec in deployment.info.inputs}
    assert all(size > 0 for given in warmup.inputs.values() for size in given.dims)
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 64
    assert lint(deployment.path / "config.pbtxt", family) == []


def test_a_portable_model_needs_no_library(repository: Path) -> None:
    info = msgspec.structs.replace(Deployment.read(repository / "adder-resnet20").info, operators={})
    assert not parsed(triton_config(info)).HasField("model_operations")


def test_the_configuration_of_a_plan_is_one_of_triton(repository: Path) -> None:
    info = Deployment.read(repository / "adder-resnet20").info
    config = parsed(plan_config(info, 3, RECORD))
    assert (config.platform, config.default_model_filename) == ("tensorrt_plan", "model.plan")
    assert (config.max_batch_size, list(config.version_policy.specific.versions)) == (8, [3])
    (group,) = config.instance_group
    assert (model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind), list(group.profile)) == ("KIND_GPU", ["0", "1"])
    assert config.optimization.cuda.graphs


FAULTS = {
    "count": ("instance_group { count: 0 }", "Triton takes 1"),
    "batching": ("", "max_batch_size is 0"),
    "rates": (
        'instance_group { rate_limiter { resources { name: "memory" count: 1 } } }', "limits no rates",
    ),
    "cache": ("response_cache { enable: true }", "has no cache"),
    "accelerator": (
        "instance_group { kind: KIND_CPU } optimization { execution_accelerators"
        ' { gpu_execution_accelerator { name: "tensorrt" } } }',
        "on the CPU",
    ),
    "library": ("", "in full"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_triton_loads_silently_is_reported(
    fault: str, repository: Path, adroit: Adroit, tmp_path: Path
) -> None:
    shutil.copytree(repository / "adder-lenet5-bn", tmp_path / "adder-lenet5-bn")
    path = tmp_path / "adder-lenet5-bn" / "config.pbtxt"
    added, expected = FAULTS[fault]
    text = path.read_text()
    if fault == "batching":
        text = text.replace("max_batch_size: 16", "max_batch_size: 0")
    if fault == "library":
        text = text.replace(ONNXRUNTIME_LIBRARY, "liboperators.so")
    path.write_text(f"{text}\n{added}\n")
    parsed(path.read_text())  # right by the schema
    (message,) = lint(path, "adder-lenet5-bn")
    assert expected in message
    result = adroit("serve", tmp_path, "--print-triton-command")
    assert (result.code, expected in result.err) == (2, True), result.err


def test_triton_loads_those_faults_without_a_word(repository: Path, operators: OperatorForm, tmp_path: Path) -> None:
    """Without this the lint would be needless; the library's fault is one of a backend that is absent."""
    wheel, deployment = unpacked_wheel(), Deployment.read(repository / "adder-lenet5-bn")
    faults = sorted(set(FAULTS) - {"library"})
    for fault in faults:
        text = triton_config(deployment.info)
        if fault == "batching":
            text = text.replace("max_batch_size: 16", "max_batch_size: 0").partition("model_warmup")[0]
        write_model(tmp_path / "models" / fault, deployment, operators, f"{text}\n{FAULTS[fault][0]}\n")
    with running_triton(tmp_path, wheel) as triton, tritonclient.http.InferenceServerClient(triton.http) as client:
        assert {m["name"]: m["state"] for m in client.get_model_repository_index()} == dict.fromkeys(faults, "READY")
    words = [line for line in (tmp_path / "triton.log").read_text().splitlines() if line.startswith(("E", "W"))]
    assert [line for line in words if "instance_group" in line or "cache" in line or "batching" in line] == []


def test_triton_loads_the_configuration_of_a_plan(repository: Path, operators: OperatorForm, tmp_path: Path) -> None:
    """All that its core checks: the backend is a stand-in, and the instances are on the CPU."""
    wheel, deployment = unpacked_wheel(), Deployment.read(repository / "adder-resnet20")
    folder = tmp_path / "models" / deployment.path.name
    (folder / "2").mkdir(parents=True)
    (folder / "2" / "model.plan").write_bytes(b"stand-in")
    text = plan_config(deployment.info, 2, RECORD)
    assert "kind: KIND_GPU" in text
    (folder / "config.pbtxt").write_text(text.replace("kind: KIND_GPU", "kind: KIND_CPU"))
    backend = tmp_path / "backends" / "tensorrt"
    backend.mkdir(parents=True)
    (backend / "model.py").write_text(model_code(deployment, operators))
    with running_triton(tmp_path, wheel) as triton, tritonclient.http.InferenceServerClient(triton.http) as client:
        assert client.is_model_ready(deployment.path.name, "2")
        config = client.get_model_config(deployment.path.name)
    assert config["optimization"]["cuda"]["graphs"] is True
    assert (config["platform"], config["max_batch_size"]) == ("tensorrt_plan", 8)


def test_a_renamed_folder_is_reported(repository: Path, adroit: Adroit, tmp_path: Path) -> None:
    """Triton compares the names, our own server does not."""
    shutil.copytree(repository / "adder-lenet5-bn", tmp_path / "digits")
    path = tmp_path / "digits" / "config.pbtxt"
    result = adroit("serve", tmp_path, "--print-triton-command")
    assert result.code == 2
    assert "digits/config.pbtxt" in result.err and 'write name: "digits"' in result.err
    path.write_text(path.read_text().replace('name: "adder-lenet5-bn"', 'name: "digits"'))
    assert adroit("serve", tmp_path, "--print-triton-command").code == 0
    path.write_text(path.read_text().replace('name: "digits"\n', ""))  # Triton then takes the folder's
    assert adroit("serve", tmp_path, "--print-triton-command").code == 0


@pytest.mark.parametrize("text", ["max_batch_size: many", "input {", "\x00"])
def test_what_is_no_configuration_is_reported(text: str, repository: Path, adroit: Adroit, tmp_path: Path) -> None:
    shutil.copytree(repository / "adder-lenet5-bn", tmp_path / "adder-lenet5-bn")
    (tmp_path / "adder-lenet5-bn" / "config.pbtxt").write_text(text)
    result = adroit("serve", tmp_path, "--print-triton-command")
    assert (result.code, "config.pbtxt is no configuration" in result.err) == (2, True), result.err


def test_the_command(repository: Path, adroit: Adroit, tmp_path: Path) -> None:
    shutil.copytree(repository, tmp_path / "with a space")
    folder = tmp_path / "with a space"
    result = adroit("serve", folder, "--print-triton-command")
    assert result.code == 0, result.err
    assert f"'--model-repository={folder}'" in result.out
    assert "ORT_DISABLE_TELEMETRY=1 \\\n    tritonserver \\\n" in result.out
    assert ONNXRUNTIME_LIBRARY in result.out
    assert "plugins" not in result.out
    deployment = Deployment.read(folder / "adder-resnet20")
    (folder / "adder-resnet20" / "configs").mkdir()
    (deployment.path / PLAN_CONFIG).write_text(plan_config(deployment.info, 2, RECORD))
    result = adroit("serve", folder, "--print-triton-command")
    flags = [line.strip(" \\") for line in result.out.splitlines()]
    assert f"--backend-config=tensorrt,plugins={TENSORRT_LIBRARY}" in flags
    assert "--model-config-name=tensorrt" in flags


def test_our_schema_has_the_numbers_and_types_of_tritons() -> None:
    """Every message of ours is a part of the protocol's of the same name."""
    from tritonclient.grpc import service_pb2

    theirs = {**model_config_pb2.DESCRIPTOR.message_types_by_name, **service_pb2.DESCRIPTOR.message_types_by_name}
    health = {"HealthCheckRequest", "HealthCheckResponse"}
    compared = 0
    for name, message in pb.DESCRIPTOR.message_types_by_name.items():
        if name not in health:
            compared += _compare(message, theirs[name])
    assert compared > 150


def _compare(ours: object, theirs: object) -> int:
    count = 0
    for field in ours.fields:  # type: ignore[attr-defined]
        if field.full_name.endswith("ModelMetadataResponse.properties"):
            continue  # KServe's protocol has it, Triton's has not
        other = theirs.fields_by_name[field.name]  # type: ignore[attr-defined]
        assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated), field
        count += 1
    for nested in ours.nested_types:  # type: ignore[attr-defined]
        if nested.name != "PropertiesEntry":
            count += _compare(nested, theirs.nested_types_by_name[nested.name])  # type: ignore[attr-defined]
    return count


def test_the_generated_code_is_of_the_schema(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed: it makes the code of the schema")
    from adroit.deploy.protocol.generate import generate

    assert generate(tmp_path) == 0
    fresh = (tmp_path / "open_inference_pb2.py").read_text()
    stored = Path(pb.__file__).read_text()
    assert fresh.partition("DESCRIPTOR =")[2] == stored.partition("DESCRIPTOR =")[2]
