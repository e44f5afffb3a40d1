"""The part of an ONNX file that running a deployment reads and changes, without the package onnx.

A box that only runs deployments needs no exporter's packages, and a server no second copy of ONNX Runtime's own
ONNX. What is made of onnx_file.proto has onnx's names, so that a function takes either's messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from adroit.deploy.onnx_file.onnx_file_pb2 import ModelProto

if TYPE_CHECKING:
    import onnx

    from adroit.deploy.onnx_file import onnx_file_pb2 as onnx_file


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file in memory: its bytes, and the message that they hold, parsed once."""

    content: bytes
    message: ModelProto


def parse_model(content: bytes) -> ModelProto:
    """Parses an ONNX file; raises google.protobuf.message.DecodeError where `content` is none."""
    model = ModelProto()
    model.ParseFromString(content)
    return model


@overload
def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]: ...
@overload
def all_nodes(graph: onnx_file.GraphProto) -> Iterator[onnx_file.NodeProto]: ...
def all_nodes(graph: onnx.GraphProto | onnx_file.GraphProto) -> Iterator[onnx.NodeProto | onnx_file.NodeProto]:
    """Yields every node, those inside branches too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(attribute.g)
