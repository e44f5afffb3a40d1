"""Nearest interpolation to any size is PyTorch's, pixel for pixel."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from adroit.deploy.passes.exact_nearest import exact_nearest


def resized(before: tuple[int, int], after: tuple[int, int]) -> tuple[onnx.ModelProto, int]:
    """The graph that PyTorch's exporter writes, after the pass, and how often that applied."""
    text = f"""<ir_version: 10, opset_import: ["" : 18]>
        g (float[1,1,{before[0]},{before[1]}] x) => (float[1,1,{after[0]},{after[1]}] y) {{
            sizes = Constant <value_ints = [1, 1, {after[0]}, {after[1]}]> ()
            y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
                (x, , , sizes)
        }}"""
    model = ir.serde.deserialize_model(onnx.parser.parse_model(text))
    count = exact_nearest(model.graph)
    return ir.serde.serialize_model(model), count


@pytest.mark.parametrize(
    ("before", "after"),
    [((11, 14), (3, 4)), ((14, 6), (4, 6)), ((6, 14), (10, 4)), ((7, 22), (14, 50)), ((46, 38), (18, 9))],
)
def test_every_pixel_is_pytorchs(before: tuple[int, int], after: tuple[int, int]) -> None:
    model, _ = resized(before, after)
    x = torch.arange(float(before[0] * before[1])).reshape(1, 1, *before)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (y,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(y, torch.nn.functional.interpolate(x, after, mode="nearest").numpy())


@pytest.mark.parametrize(("after", "count"), [((3, 4), 1), ((22, 28), 0), ((33, 42), 0), ((6, 7), 0)])
def test_resize_stays_where_its_pixels_are_right(after: tuple[int, int], count: int) -> None:
    assert resized((11, 14), after)[1] == count
