"""A deployment in a program of one's own, by ONNX Runtime alone.

    python examples/5_plain_onnxruntime.py DEPLOYMENT

adroit is needed for the path of its library of operators only; a model of standard operators needs not even that.
5_plain_onnxruntime.cpp does the same in C++. ONNX Runtime reports to Microsoft unless ORT_DISABLE_TELEMETRY=1 is set
before it is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime

import adroit


def main(deployment: Path) -> None:
    """Runs one batch of zeros, and prints the outputs' shapes."""
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(adroit.native_library()))
    session = onnxruntime.InferenceSession(deployment / "1" / "model.onnx", options, ["CPUExecutionProvider"])
    sizes = {"batch": 1, "height": 32, "width": 32}
    feeds = {
        given.name: np.zeros([size if isinstance(size, int) else sizes[size] for size in given.shape], np.float32)
        for given in session.get_inputs()
    }
    for output, value in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        print(output.name, value.shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
