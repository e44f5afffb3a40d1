"""The generator of open_inference_pb2.py and .pyi; run it after a change of open_inference.proto.

    python -m adroit.deploy.protocol.generate

Needs grpcio-tools. Take one that generates for protobuf 6 (grpcio-tools 1.76): generated code runs with
the protobuf version that it was generated for and with later ones, and clients of the protocol hold protobuf below 7.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = "open_inference.proto"


def generate(folder: Path) -> int:
    """Write both files to `folder`; return protoc's exit code."""
    from grpc_tools import protoc

    here = Path(__file__).parent
    return int(protoc.main(["protoc", f"-I{here}", f"--python_out={folder}", f"--pyi_out={folder}", SOURCE]))


if __name__ == "__main__":
    sys.exit(generate(Path(__file__).parent))
