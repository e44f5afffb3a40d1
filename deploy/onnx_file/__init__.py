"""The part of an ONNX file that running a deployment reads and changes, without the package onnx.

A box that only runs deployments needs no exporter's packages, and a server no second copy of ONNX Runtime's own
ONNX. What is made of onnx_file.proto has onnx's names, so that a function takes either's messages.
"""

from __future__ import annotations

from deploy.onnx_file.onnx_file_pb2 import ModelProto


def parse_model(content: bytes) -> ModelProto:
    """Raises google.protobuf.message.DecodeError where `content` is no ONNX file."""
    model = ModelProto()
    model.ParseFromString(content)
    return model
