"""Clients that send too much, too slowly or not to the end, over plain sockets: the server serves on."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.deploy.serve.server import PATIENCE, Server, until
from tests.deploy.serve.test_malformed_http import INFER, request


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
