"""Requests that are wrong, over HTTP: each is refused with a 4xx and a reason, and the server serves on."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest

from tests.deploy.serve.server import Server

MODEL = "adder-lenet5-bn"
SHAPE = [1, 1, 32, 32]
COUNT = 1024
INFER = f"/v2/models/{MODEL}/infer"


def request(**changes: Any) -> dict[str, Any]:
    """Return a right request with `changes` to its one input."""
    tensor = {"name": "image", "datatype": "FP32", "shape": SHAPE, "data": [0.5] * COUNT} | changes
    return {"inputs": [{key: value for key, value in tensor.items() if value is not None}]}


def binary(size: Any = 4 * COUNT, tail: bytes = bytes(4 * COUNT), length: Any = None, **changes: Any) -> Any:
    """Return a request with bytes behind its JSON: body and headers."""
    header = json.dumps(request(**{"data": None, "parameters": {"binary_data_size": size}, **changes})).encode()
    return header + tail, {"Inference_Header_Content_Length": str(len(header) if length is None else length)}


def text(value: Any) -> Any:
    return (json.dumps(value).encode(), {})


def named(**more: Any) -> Any:
    return text({**request(), **more})


WRONG: dict[str, Any] = {
    "fewer values than the shape": text(request(data=[0.5] * 7)),
    "more values than the shape": text(request(data=[0.5] * (COUNT + 1))),
    "wrong height and width": text(request(shape=[1, 1, 16, 16], data=[0.5] * 256)),
    "wrong channels": text(request(shape=[1, 3, 32, 32], data=[0.5] * 3 * COUNT)),
    "wrong rank": text(request(shape=[1, COUNT])),
    "no dimensions": text(request(shape=[], data=[0.5])),
    "negative dimension": text(request(shape=[-1, 1, 32, 32])),
    "zero dimension": text(request(shape=[0, 1, 32, 32], data=[])),
    "float dimension": text(request(shape=[1.5, 1, 32, 32])),
    "text dimension": text(request(shape=["1", 1, 32, 32])),
    "2^40 samples": binary(shape=[2**40, 1, 32, 32]),
    "2^62 samples, whose bytes overflow": binary(shape=[2**62, 1, 32, 32]),
    "2^70 samples": binary(shape=[2**70, 1, 32, 32]),
    "more samples than a batch": binary(4 * 17 * COUNT, bytes(4 * 17 * COUNT), shape=[17, 1, 32, 32]),
    "another datatype": text(request(datatype="INT32", data=[1] * COUNT)),
    "unknown datatype": text(request(datatype="FP33")),
    "text datatype": text(request(datatype="BYTES", data=["a"] * COUNT)),
    "unknown input": text(request(name="photograph")),
    "unknown output": named(outputs=[{"name": "classes"}]),
    "an output twice": named(outputs=[{"name": "logits"}] * 2),
    "no inputs": named(inputs=[]),
    "an input twice": named(inputs=request()["inputs"] * 2),
    "inputs missing": text({"id": "1"}),
    "unknown parameter": named(parameters={"gate_treshold": 0.5}),
    "a budget for a network without gates": named(parameters={"gate_threshold": 0.5}),
    "timeout in words": named(parameters={"timeout": "soon"}),
    "binary_data_size too small": binary(4 * COUNT - 4),
    "binary_data_size beyond the body": binary(10**9),
    "binary_data_size negative": binary(-1),
    "binary_data_size not whole": binary(4.5),
    "bytes cut short": binary(tail=bytes(100)),
    "bytes behind the last tensor": binary(tail=bytes(4 * COUNT + 1)),
    "JSON and bytes for one input": binary(data=[0.5] * COUNT),
    "header length beyond the body": binary(length=10**6),
    "header length negative": binary(length=-5),
    "header length in words": binary(length="many"),
    "header length that cuts the JSON": binary(length=10),
    "empty body": (b"", {}),
    "not JSON": (b"\x89PNG\r\n", {}),
    "an array": text([1, 2]),
    "null": text(None),
    "JSON 100,000 deep": (b"[" * 100_000, {}),
    "JSON 100,000 deep in an input": (
        json.dumps(request(data="X")).replace('"X"', "[" * 100_000 + "]" * 100_000).encode(), {},
    ),
    "numbers and texts mixed": text(request(data=[0.5] * (COUNT - 1) + ["0.5"])),
    "null among the numbers": text(request(data=[0.5] * (COUNT - 1) + [None])),
    "lists nested otherwise than the shape": text(request(data=[[0.5] * 512] * 2)),
    "NaN": (json.dumps(request(data=[float("nan")] * COUNT)).encode(), {}),
    "a number that FP32 cannot hold": text(request(data=[1e300] * COUNT)),
    "a pixel of 256": text(request(datatype="UINT8", shape=[1, 32, 32, 3], data=[256] * 3 * COUNT)),
    "pixels with four channels": text(request(datatype="UINT8", shape=[1, 32, 32, 4], data=[1] * 4 * COUNT)),
    "not UTF-8": (b'{"id": "\xff", "inputs": []}', {}),
    "an id that is no text": named(id=7),
    "shared memory that is not registered": text(request(data=None, parameters={"shared_memory_region": "x"})),
    "gzip that is none": (b"plain", {"Content_Encoding": "gzip"}),
    "gzip cut short": (gzip.compress(json.dumps(request()).encode())[:-9], {"Content_Encoding": "gzip"}),
    "encoding unknown": (b"plain", {"Content_Encoding": "br"}),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_malformed_inference_is_refused_with_its_reason(what: str, server: Server) -> None:
    body, headers = WRONG[what]
    status, answer = server.post(INFER, body, **headers)
    assert 400 <= status < 500, (status, answer)
    assert json.loads(answer)["error"]
    assert len(answer) < 1000  # no echo of what was sent


URLS = {
    "unknown model": ("POST", "/v2/models/other/infer", 404),
    "unknown version": ("POST", f"/v2/models/{MODEL}/versions/9/infer", 404),
    "version in words": ("POST", f"/v2/models/{MODEL}/versions/newest/infer", 404),
    "path traversal": ("GET", "/v2/models/../../../etc/passwd", 404),
    "path traversal, encoded": ("GET", "/v2/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404),
    "load by path": ("POST", "/v2/repository/models/..%2fother/load", 404),
    "wrong method": ("GET", INFER, 405),
    "wrong method for metadata": ("DELETE", "/v2", 405),
    "wrong method for a version's inference": ("GET", f"/v2/models/{MODEL}/versions/1/infer", 405),
    "unknown action": ("POST", f"/v2/models/{MODEL}/train", 404),
    "unknown URL": ("GET", "/v3", 404),
}


@pytest.mark.parametrize("what", URLS)
def test_a_wrong_url_is_refused(what: str, server: Server) -> None:
    method, path, expected = URLS[what]
    status, _ = server.send(method, path, json.dumps(request()).encode() if method == "POST" else None)
    assert status == expected


def test_the_right_request_of_these_tests_is_answered(server: Server) -> None:
    status, body = server.post(INFER, json.dumps(request()).encode())
    assert status == 200
    assert len(json.loads(body)["outputs"][0]["data"]) == 10
    nested = np.full(SHAPE, 0.5).tolist()
    assert server.post(INFER, json.dumps(request(data=nested)).encode()) == (status, body)
    raw, headers = binary(tail=np.full(COUNT, 0.5, np.float32).tobytes())
    assert server.post(INFER, raw, **headers) == (status, body)


def test_values_that_json_cannot_express_become_null(server: Server) -> None:
    body, headers = binary(tail=np.full(COUNT, np.nan, np.float32).tobytes())
    status, answer = server.post(INFER, body, **headers)
    assert status == 200
    assert json.loads(answer)["outputs"][0]["data"] == [None] * 10
