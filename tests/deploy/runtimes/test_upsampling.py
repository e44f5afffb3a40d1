"""Sessions on the CPU interpolate by our own kernel, where that does the same."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest

from adroit.deploy.onnx_file import OnnxFile, all_nodes, parse_model
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.runtimes.native import native_library
from adroit.deploy.runtimes.onnxruntime_runtime import ON_CPU, OnnxRuntime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.deploy.runtimes.upsampling import use_own_upsampling
from adroit.errors import EnvironmentFault

NATIVE = RuntimeOptions(threads=1)


def model_of(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f"""<ir_version: 10, opset_import: ["" : 18, "adroit" : 1]>
        network (float[n, 2, h, w] x, bool open) => (float[n, 2, hy, wy] y)
        <float[4] by2 = {{1, 1, 2, 2}}, float[4] by3 = {{1, 1, 3, 3}}, float[4] by4 = {{1, 1, 4, 4}},
         float[4] unlike = {{1, 1, 2, 4}}, float[4] channels = {{1, 2, 2, 2}}, int64[4] sizes = {{1, 2, 8, 8}}>
        {{ {body} }}""")


def changed(model: onnx.ModelProto) -> onnx.ModelProto:
    content = model.SerializeToString()
    return onnx.load_model_from_string(use_own_upsampling(OnnxFile(content, parse_model(content))))


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in all_nodes(model.graph)]


BRANCHES = """y = If (open) <
    then_branch = one () => (float[n, 2, hy, wy] a) <float[4] inner = {1, 1, 2, 2}> {
        a = Resize <mode = "linear"> (x, , inner)
    },
    else_branch = other () => (float[n, 2, hy, wy] b) { b = Resize <mode = "linear"> (x, , by2) } >"""


@pytest.mark.parametrize(
    ("body", "replaced"),
    [
        ('y = Resize <mode = "linear"> (x, , by2)', 1),
        ('m = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (x, , by2)'
         ' y = Resize <mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"> (m, , by4)', 2),
        (BRANCHES, 2),
    ],
)  # fmt: skip
def test_bilinear_by_2_and_4_is_replaced_with_the_same_result_at_any_size(body: str, replaced: int) -> None:
    model = model_of(body)
    kinds_now = kinds(changed(model))
    assert kinds_now.count("BilinearUpsample") == replaced and "Resize" not in kinds_now
    try:
        native_library()
    except EnvironmentFault as error:
        pytest.skip(error.message)
    with (
        OnnxRuntime(model, NATIVE, custom=True) as own,
        OnnxRuntime(model, replace(NATIVE, operators=OperatorForm.portable), custom=True) as standard,
    ):
        for number, shape in enumerate([(1, 2, 4, 6), (3, 2, 1, 1), (2, 2, 7, 33)]):
            x = np.random.default_rng(number).standard_normal(shape).astype(np.float32)
            for is_open in (True, False):
                feeds = {"x": x, "open": np.array(is_open)}
                np.testing.assert_allclose(own.run(feeds)["y"], standard.run(feeds)["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        "y = Resize (x, , by2)",
        'y = Resize <mode = "cubic"> (x, , by2)',
        'y = Resize <mode = "linear"> (x, , by3)',
        'y = Resize <mode = "linear"> (x, , unlike)',
        'y = Resize <mode = "linear"> (x, , channels)',
        'y = Resize <mode = "linear"> (x, , , sizes)',
        'y = Resize <mode = "linear", antialias = 1> (x, , by2)',
        'y = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> (x, , by2)',
        'y = Resize <mode = "linear", coordinate_transformation_mode = "asymmetric"> (x, , by2)',
        'twice = Add (by2, by2) half = Constant <value_float = 0.5> () s = Mul (twice, half) '
        'y = Resize <mode = "linear"> (x, , s)',
    ],
)  # fmt: skip
def test_any_other_stays(body: str) -> None:
    assert kinds(changed(model_of(body))).count("Resize") == 1


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_is_not_on_the_cpu_alone_keeps_the_standard_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session without our library computes the same; the tests above compare with it."""
    given = []
    monkeypatch.setattr(
        "adroit.deploy.runtimes.onnxruntime_runtime.use_own_upsampling", lambda m: given.append(m) or m.content
    )
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", ON_CPU])
    model = model_of('y = Resize <mode = "linear"> (x, , by2)')
    try:
        native_library()
    except EnvironmentFault as error:
        pytest.skip(error.message)
    # Without a GPU the session falls back to the CPU alone, which is an error, but too late to matter here.
    with contextlib.suppress(EnvironmentFault):
        OnnxRuntime(model, replace(NATIVE, providers=["CUDAExecutionProvider", ON_CPU]), custom=True).close()
    assert not given
    OnnxRuntime(model, NATIVE, custom=True).close()
    assert len(given) == 1
