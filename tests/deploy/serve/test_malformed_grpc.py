"""Requests that are wrong, over gRPC: each gets its own status code, and the server serves on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from adroit.deploy.protocol import open_inference_pb2 as pb
from tests.deploy.serve.server import PATIENCE, Server, until

MODEL = "adder-lenet5-bn"
COUNT = 1024
INFER = "/inference.GRPCInferenceService/ModelInfer"
Change = Callable[[pb.ModelInferRequest], Any]
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options=options) as connected:
        yield connected


def request() -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[bytes(4 * COUNT)])
    message.inputs.add(name="image", datatype="FP32", shape=[1, 1, 32, 32])
    return message


def call(channel: grpc.Channel, content: bytes, method: str = INFER, timeout: float = PATIENCE) -> bytes:
    """Send bytes, and return bytes: messages of any kind, and no messages."""
    return channel.unary_unary(method)(content, timeout=timeout)


def code_of(channel: grpc.Channel, content: bytes, method: str = INFER, timeout: float = PATIENCE) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, content, method, timeout)
    assert len(caught.value.details()) < 1000
    return caught.value.code()


def shaped(*shape: int) -> Change:
    def change(message: pb.ModelInferRequest) -> None:
        message.inputs[0].shape[:] = shape

    return change


def typed(**contents: Any) -> Change:
    def change(message: pb.ModelInferRequest) -> None:
        del message.raw_input_contents[:]
        for field, values in contents.items():
            getattr(message.inputs[0].contents, field).extend(values)

    return change


def parameter(name: str, **value: Any) -> Change:
    return lambda message: message.parameters[name].CopyFrom(pb.InferParameter(**value))


def region(**values: Any) -> Change:
    def change(message: pb.ModelInferRequest) -> None:
        del message.raw_input_contents[:]
        for name, value in values.items():
            message.inputs[0].parameters[f"shared_memory_{name}"].CopyFrom(value)

    return change


def text(value: str) -> pb.InferParameter:
    return pb.InferParameter(string_param=value)


WRONG: dict[str, tuple[Change, grpc.StatusCode]] = {
    "bytes fewer than the shape": (lambda m: m.raw_input_contents.__setitem__(0, bytes(100)), INVALID),
    "bytes more than the shape": (lambda m: m.raw_input_contents.__setitem__(0, bytes(4 * COUNT + 4)), INVALID),
    "wrong height and width": (shaped(1, 1, 16, 64), INVALID),
    "wrong rank": (shaped(1, COUNT), INVALID),
    "no dimensions": (shaped(), INVALID),
    "zero dimension": (shaped(0, 1, 32, 32), INVALID),
    "negative dimension": (shaped(-1, 1, 32, 32), INVALID),
    "2^40 samples": (shaped(2**40, 1, 32, 32), INVALID),
    "2^62 samples": (shaped(2**62, 1, 32, 32), INVALID),
    "more samples than a batch": (shaped(17, 1, 32, 32), INVALID),
    "another datatype": (lambda m: setattr(m.inputs[0], "datatype", "INT32"), INVALID),
    "unknown datatype": (lambda m: setattr(m.inputs[0], "datatype", "FP33"), INVALID),
    "text datatype": (lambda m: setattr(m.inputs[0], "datatype", "BYTES"), INVALID),
    "unknown model": (lambda m: setattr(m, "model_name", "other"), NOT_FOUND),
    "model by path": (lambda m: setattr(m, "model_name", f"../{MODEL}"), NOT_FOUND),
    "no model": (lambda m: setattr(m, "model_name", ""), NOT_FOUND),
    "unknown version": (lambda m: setattr(m, "model_version", "9"), NOT_FOUND),
    "unknown input": (lambda m: setattr(m.inputs[0], "name", "photograph"), INVALID),
    "unknown output": (lambda m: m.outputs.add(name="classes"), INVALID),
    "no inputs": (lambda m: (m.inputs.pop(), m.raw_input_contents.pop()), INVALID),
    "no contents": (lambda m: m.raw_input_contents.pop(), INVALID),
    "an input twice": (lambda m: (m.inputs.append(m.inputs[0]), m.raw_input_contents.append(bytes(4096))), INVALID),
    "two raw contents for one input": (lambda m: m.raw_input_contents.append(bytes(4 * COUNT)), INVALID),
    "bytes and contents": (lambda m: m.inputs[0].contents.fp32_contents.append(1.0), INVALID),
    "too few contents": (typed(fp32_contents=[1.0]), INVALID),
    "contents of another type": (typed(int_contents=[1] * COUNT), INVALID),
    "contents of two types": (typed(fp32_contents=[1.0] * COUNT, int_contents=[1]), INVALID),
    "unknown parameter": (parameter("gate_treshold", double_param=0.5), INVALID),
    "a budget for a network without gates": (parameter("gflops", double_param=0.5), INVALID),
    "a region that is not registered": (region(region=text("x"), byte_size=pb.InferParameter(int64_param=8)), INVALID),
    "a region's size in words": (region(region=text("x"), byte_size=text("8")), INVALID),
    "a region's size alone": (region(byte_size=pb.InferParameter(int64_param=8)), INVALID),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_malformed_inference_gets_its_code(what: str, channel: grpc.Channel) -> None:
    change, expected = WRONG[what]
    message = request()
    change(message)
    assert code_of(channel, message.SerializeToString()) == expected


def test_the_right_request_of_these_tests_is_answered(channel: grpc.Channel) -> None:
    plain = pb.ModelInferResponse.FromString(call(channel, request().SerializeToString()))
    message = request()
    typed(fp32_contents=[0.0] * COUNT)(message)
    assert pb.ModelInferResponse.FromString(call(channel, message.SerializeToString())) == plain
    assert len(plain.raw_output_contents[0]) == 40


def test_bytes_that_are_no_message(channel: grpc.Channel) -> None:
    assert code_of(channel, b"\xff" * 100) == INVALID
    assert code_of(channel, request().SerializeToString()[:-1000]) == INVALID


def test_a_message_that_is_too_large(channel: grpc.Channel, server: Server) -> None:
    message = request()
    message.raw_input_contents[0] = bytes(66 << 20)
    assert code_of(channel, message.SerializeToString()) == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_method_that_is_not_there(channel: grpc.Channel) -> None:
    assert code_of(channel, b"", "/inference.GRPCInferenceService/CudaSharedMemoryStatus") == (
        grpc.StatusCode.UNIMPLEMENTED
    )


def test_shared_memory_outside_of_its_folder(channel: grpc.Channel) -> None:
    method = "/inference.GRPCInferenceService/SystemSharedMemoryRegister"
    for key in ("/../../etc/passwd", "..", "", "a/b", "/nothing-of-that-name", "a\0b"):
        message = pb.SystemSharedMemoryRegisterRequest(name="r", key=key, byte_size=8)
        assert code_of(channel, message.SerializeToString(), method) == INVALID, key


def test_the_health_service(channel: grpc.Channel) -> None:
    method = "/grpc.health.v1.Health/Check"
    answer = call(channel, pb.HealthCheckRequest(service="inference.GRPCInferenceService").SerializeToString(), method)
    assert pb.HealthCheckResponse.FromString(answer).status == pb.HealthCheckResponse.SERVING
    assert code_of(channel, pb.HealthCheckRequest(service="other").SerializeToString(), method) == NOT_FOUND
    watching = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=PATIENCE)
    assert pb.HealthCheckResponse.FromString(next(watching)).status == pb.HealthCheckResponse.SERVING
    watching.cancel()


def test_the_server_is_whole_after_all_of_these(channel: grpc.Channel, server: Server) -> None:
    call(channel, request().SerializeToString())
    until(lambda: server.metric("adroit_pending_bytes") == 0)
    assert [event for event in server.events() if event["event"] == "a bug of ours"] == []
