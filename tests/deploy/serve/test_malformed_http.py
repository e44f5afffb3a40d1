"""Requests that are wrong, over HTTP: each is refused with a 4xx and a reason, and the server serves on."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deploy.serve.server import PATIENCE, Server, until

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
    "unknown field": named(input=[]),
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


# ---- what is not a matter of the JSON: sizes and time, over a plain socket ----


@pytest.fixture
def sound(server: Server) -> Iterator[Server]:
    """The server; after the test it still answers, and holds nothing of what the test sent.

    The largest body that it takes has 64 MiB, and the tests send 200 MB and more: 50 MiB is less than any of them
    would leave, and more than what threads and caches take when they first run.
    """
    before = server.resident_mib
    yield server
    assert server.post(INFER, json.dumps(request()).encode())[0] == 200
    until(lambda: server.metric("adroit_pending_bytes") == 0)
    assert server.resident_mib - before < 50


def connected(server: Server, head: str) -> socket.socket:
    host, port = server.http.split(":")
    connection = socket.create_connection((host, int(port)), PATIENCE)
    connection.sendall(f"{head}\r\nHost: {server.http}\r\n".encode())
    return connection


def status_of(connection: socket.socket) -> int:
    """Read a response to its end; return its status, 0 where the connection ended without one."""
    head = b""
    try:
        while b"\r\n\r\n" not in head and (byte := connection.recv(1)):
            head += byte
        length = re.search(rb"content-length: (\d+)", head.lower())
        remaining = int(length[1]) if length else 0
        while remaining and (part := connection.recv(remaining)):
            remaining -= len(part)
    except ConnectionResetError:
        pass
    return int(head.split(b" ")[1]) if head else 0


def test_a_body_of_200_mb_is_refused_before_it_is_sent(sound: Server) -> None:
    with connected(sound, f"POST {INFER} HTTP/1.1") as connection:
        connection.sendall(b"Content-Length: 200000000\r\n\r\n")
        assert status_of(connection) == 413


def test_a_body_of_200_mb_in_chunks_is_refused_when_it_is_too_large(sound: Server) -> None:
    sent = 0
    with connected(sound, f"POST {INFER} HTTP/1.1") as connection:
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        try:
            while sent < 200 << 20:
                connection.sendall(chunk)
                sent += 1 << 20
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert status_of(connection) in (413, 0)
    assert sent < 200 << 20


def test_a_body_that_unpacks_beyond_the_limit_is_refused(sound: Server) -> None:
    packing = zlib.compressobj(1, wbits=31)
    body = b"".join(packing.compress(bytes(1 << 24)) for _ in range(16)) + packing.flush()  # 256 MiB of zeros
    assert len(body) < 2 << 20
    assert sound.post(INFER, body, Content_Encoding="gzip")[0] == 413


def test_much_json_is_refused_with_the_way_to_send_it(sound: Server) -> None:
    status, answer = sound.post(INFER, b" " * (17 << 20))
    assert (status, "binary" in answer.decode()) == (413, True)


def test_two_million_chunks_of_one_byte(sound: Server) -> None:
    with connected(sound, f"POST {INFER} HTTP/1.1") as connection:
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 2_000_000 + b"0\r\n\r\n")
        assert status_of(connection) == 400


def test_headers_without_end_are_refused(sound: Server) -> None:
    for endless in (b"X-Long: " + b"a" * (1 << 20), b"".join(b"X-%d: a\r\n" % i for i in range(20_000))):
        with connected(sound, "GET /v2 HTTP/1.1") as connection:
            try:
                connection.sendall(endless)
            except (ConnectionResetError, BrokenPipeError):
                continue
            assert status_of(connection) in (431, 0)


@pytest.mark.parametrize("begun", ["nothing", "headers", "body"])
def test_a_client_that_leaves_halfway_leaves_nothing_behind(begun: str, sound: Server) -> None:
    for _ in range(20):
        with connected(sound, f"POST {INFER} HTTP/1.1") as connection:
            if begun == "body":
                connection.sendall(b"Content-Length: 4096\r\n\r\n" + b" " * 100)
            elif begun == "headers":
                connection.sendall(b"Content-Length: 4")
            connection.shutdown(socket.SHUT_WR)
            assert status_of(connection) == 0


def test_bytes_that_are_no_http(sound: Server) -> None:
    with connected(sound, "\x16\x03\x01\x02\x00\x01\x00") as connection:
        assert status_of(connection) in (400, 0)


def test_two_requests_on_one_connection_after_a_refusal(sound: Server) -> None:
    """A refusal does not end the connection, and what it left unread is not taken for the next request."""
    wrong = json.dumps(request(name="photograph")).encode()
    right = json.dumps(request()).encode()
    with connected(sound, f"POST {INFER} HTTP/1.1") as connection:
        connection.sendall(f"Content-Length: {len(wrong)}\r\n\r\n".encode() + wrong)
        assert status_of(connection) == 400
        head = f"POST {INFER} HTTP/1.1\r\nHost: {sound.http}\r\nContent-Length: {len(right)}\r\n\r\n"
        connection.sendall(head.encode() + right)
        assert status_of(connection) == 200


def status_while_sending(connection: socket.socket, send: Callable[[], None]) -> int:
    """Send something ten times a second, until the server answers; return the status, 0 for an end without one."""
    connection.settimeout(0.1)
    while True:
        try:
            connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            with contextlib.suppress(ConnectionError):
                send()
            continue
        except ConnectionResetError:
            return 0
        connection.settimeout(PATIENCE)
        return status_of(connection)


@pytest.mark.parametrize("slow", ["silent", "headers", "body"])
def test_slow_clients_are_timed_out(slow: str, hasty_server: Server) -> None:
    with connected(hasty_server, f"POST {INFER} HTTP/1.1") as connection:
        if slow == "body":
            connection.sendall(b"Content-Length: 100000\r\n\r\n")
        drip = {"silent": b"", "headers": b"X-A: b\r\n", "body": b" "}[slow]
        # What a client sends after the end of its connection can take the place of the answer.
        assert status_while_sending(connection, lambda: connection.sendall(drip)) in (408, 0)
    until(lambda: hasty_server.get("/v2/health/ready")[0] == 200)


def is_open_at_server(connection: socket.socket) -> bool:
    """Tell whether the server holds its end of a connection: the kernel lists an end without a process as inode 0."""
    server, client = (f":{name[1]:04X}" for name in (connection.getpeername(), connection.getsockname()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(server) and row[2].endswith(client) and row[9] != "0" for row in rows)


def test_a_client_that_does_not_take_its_answer_is_dropped(hasty_server: Server) -> None:
    """Nine megabytes of class scores as JSON: more than the system holds for a connection."""
    values = np.zeros((2, 3, 256, 288), np.float32)
    tensor = {"name": "image", "datatype": "FP32", "shape": values.shape}
    header = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": values.nbytes}}]}).encode()
    with connected(hasty_server, "POST /v2/models/routed/infer HTTP/1.1") as connection:
        head = (
            f"Content-Length: {len(header) + values.nbytes}\r\nInference-Header-Content-Length: {len(header)}\r\n\r\n"
        )
        connection.sendall(head.encode() + header + values.tobytes())
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        length = int(answer.lower().partition(b"content-length: ")[2].split()[0])
        until(lambda: not is_open_at_server(connection))
        received = len(answer)
        try:
            while part := connection.recv(1 << 20):
                received += len(part)
        except ConnectionResetError:
            pass
        assert received < length
    until(lambda: hasty_server.get("/v2/health/ready")[0] == 200)
