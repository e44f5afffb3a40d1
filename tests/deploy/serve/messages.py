"""Requests for inference, as bytes for HTTP and for gRPC."""

from __future__ import annotations

import json

from adroit.deploy.protocol import open_inference_pb2 as pb

GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"


def infer_path(model: str) -> str:
    """Return the URL's path for the inference of a model."""
    return f"/v2/models/{model}/infer"


def http_request(side: int = 32) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request with one black image of `side` x `side` pixels."""
    shape = [1, side, side, 3]
    size = side * side * 3
    tensor = {"name": "image", "datatype": "UINT8", "shape": shape, "parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [tensor], "outputs": [{"name": "logits"}]}).encode()
    return header + bytes(size), {"Inference-Header-Content-Length": str(len(header))}


def http_bytes(model: str, host: str = "x") -> bytes:
    """Return a whole HTTP request with one image of 32 x 32 pixels."""
    body, headers = http_request()
    lines = [f"POST {infer_path(model)} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def grpc_request(model: str, side: int = 32) -> bytes:
    """Return the message of a request with one black image of `side` x `side` pixels."""
    message = pb.ModelInferRequest(model_name=model, raw_input_contents=[bytes(side * side * 3)])
    message.inputs.add(name="image", datatype="UINT8", shape=[1, side, side, 3])
    return bytes(message.SerializeToString())
