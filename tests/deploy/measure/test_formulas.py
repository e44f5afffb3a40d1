"""The formulas of single operators, on cases small enough to count by hand."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest

from adroit.deploy.measure.counts import count_model
from adroit.deploy.measure.formulas import FORMULAS
from adroit.models.operators.counts import OperationCounts

X = (2, 4, 3, 5)  # 120 elements
E = 120

# The node, and its elementwise and transcendental operations on x of shape X.
ELEMENTWISE = {
    "Relu (x)": (E, 0),
    "Clip (x, one)": (E, 0),
    "Add (x, x)": (E, 0),
    "Sum (x, x, x)": (2 * E, 0),
    "Mean (x, x, x)": (3 * E, 0),
    "Max (x, one)": (E, 0),
    "Greater (x, one)": (E, 0),
    "Where (yes, x, one)": (0, 0),
    "Exp (x)": (0, E),
    "Sqrt (x)": (0, E),
    "Erf (x)": (0, E),
    "Sigmoid (x)": (0, E),
    "Reciprocal (x)": (E, 0),
    "Pow (x, two)": (E, 0),
    "Pow (x, half)": (0, E),
    "HardSigmoid (x)": (3 * E, 0),
    "HardSwish (x)": (4 * E, 0),
    "Elu (x)": (2 * E, E),
    "Celu (x)": (3 * E, E),
    "Selu (x)": (3 * E, E),
    "Softplus (x)": (E, 2 * E),
    "Mish (x)": (2 * E, 3 * E),
    "Softsign (x)": (3 * E, 0),
    "PRelu (x, one)": (E, 0),
    "Softmax <axis = 1> (x)": (4 * E, E),
    "LogSoftmax <axis = 1> (x)": (4 * E, E + E // 4),
    "CumSum (x, axis)": (E, 0),
    # 7 = mean, difference, square, mean of squares, scaling, factor, offset; a root for each group.
    "LayerNormalization <axis = -1> (x, five, five)": (7 * E, E // 5),
    "LayerNormalization <axis = -1> (x, five)": (6 * E, E // 5),
    "InstanceNormalization (x, four, four)": (7 * E, 2 * 4),
    "GroupNormalization <num_groups = 2> (x, two_values, two_values)": (7 * E, 2 * 2),
    "LpNormalization <axis = 1> (x)": (3 * E, E // 4),
    "LRN <size = 3> (x)": (7 * E, E),
    "BatchNormalization (x, four, four, four, four)": (E, 0),
    "MaxPool <kernel_shape = [2, 3]> (x)": (2 * 4 * 2 * 3 * 6, 0),
    "AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)": (E * 9, 0),
    "LpPool <kernel_shape = [2, 3]> (x)": (2 * 2 * 4 * 2 * 3 * 6, 2 * 4 * 2 * 3),
    "GlobalAveragePool (x)": (E, 0),
    "GlobalMaxPool (x)": (E, 0),
    "ReduceMean (x)": (E, 0),
    "ReduceMax (x)": (E, 0),
    "ReduceL2 <keepdims = 0> (x)": (2 * E, 1),
    "ReduceLogSumExp <keepdims = 0> (x)": (3 * E, E + 1),
    "ArgMax <axis = 1> (x)": (E, 0),
    "ScatterND (x, place, update)": (0, 0),
    'ScatterND <reduction = "add"> (x, place, update)': (60, 0),
    "DepthToSpace <blocksize = 2> (x)": (0, 0),
    "Transpose <perm = [0, 2, 3, 1]> (x)": (0, 0),
    'Pad <mode = "reflect"> (x, pads)': (0, 0),
    'Einsum <equation = "nchw->nc"> (x)': (E, 0),
    'Einsum <equation = "nchw,nchw->nchw"> (x, x)': (E, 0),
    "QuantizeLinear (x, one, zero)": (E, 0),
}
CONSTANTS = """
    float one = {1}, float two = {2}, float half = {0.5}, float[2] two_values = {1, 1}, float[4] four = {1, 1, 1, 1},
    float[5] five = {1, 1, 1, 1, 1}, bool yes = {1}, int64 axis = {1}, int64[1, 1] place = {0}, uint8 zero = {0},
    int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, int64[1] three = {3},
    int64[4] twice = {2, 4, 6, 10}, int64[4] narrow = {2, 4, 3, 2}
"""


def counted(node: str, outputs: str = "v") -> OperationCounts:
    """Counts one node on x of shape X."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> one '
        f"(float{list(X)} x, float[1, 4, 3, 5] update, float[2, 7, 6, 2] grid) => (float y) <{CONSTANTS}> "
        f"{{ {outputs} = {node} y = Cast <to = 1> (v) }}"
    )
    result = count_model(model, {})
    assert result.uncounted == []
    return result.total


@pytest.mark.parametrize("node", ELEMENTWISE)
def test_elementwise_and_transcendental_by_hand(node: str) -> None:
    elementwise, transcendental = ELEMENTWISE[node]
    assert counted(node) == OperationCounts(elementwise=elementwise, transcendental=transcendental)


def test_the_greatest_values_pass_a_heap() -> None:
    """Three values along the last dimension: a heap of two levels."""
    assert counted("TopK (x, three)", "v, i") == OperationCounts(elementwise=2 * E)


@pytest.mark.parametrize(
    ("node", "multiply_adds"),
    [
        ('Resize <mode = "nearest"> (x, , , twice)', 0),
        ('Resize <mode = "linear"> (x, , , twice)', 4 * 480),
        ('Resize <mode = "cubic"> (x, , , twice)', 16 * 480),
        ('Resize <mode = "linear", antialias = 1> (x, , , narrow)', 2 * 5 * 48),  # a dimension of 5 shrinks to 2
        ('GridSample <mode = "bilinear"> (x, grid)', 4 * 2 * 4 * 7 * 6),
        ('GridSample <mode = "nearest"> (x, grid)', 0),
    ],
)
def test_interpolation_by_hand(node: str, multiply_adds: int) -> None:
    assert counted(node) == OperationCounts(multiply_adds)


@pytest.mark.parametrize(("shape", "taps"), [((1, 2, 8), 2), ((1, 2, 8, 8, 8), 8)])
def test_interpolation_along_one_and_three_dimensions(shape: tuple[int, ...], taps: int) -> None:
    small = [*shape[:2], *(4 for _ in shape[2:])]
    sizes = ", ".join(map(str, shape))
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18]> one (float{small} x) => (float y) '
        f'<int64[{len(shape)}] s = {{{sizes}}}> {{ y = Resize <mode = "linear"> (x, , , s) }}'
    )
    elements = 2 * 8 ** (len(shape) - 2)
    assert count_model(model, {}).total == OperationCounts(taps * elements)


# Random values, strings, audio, losses of training; how often a body runs, and what depends on values.
NOT_COUNTED = """
    Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike
    StringNormalizer TfIdfVectorizer BlackmanWindow HammingWindow HannWindow MelWeightMatrix DFT STFT Det
    NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss If Loop Scan SequenceMap MaxRoiPool NonMaxSuppression Unique
"""


def test_every_operator_that_the_exporter_may_write_has_a_formula() -> None:
    """Those of opset 18."""
    schemas = onnx.defs.get_all_schemas_with_history()
    listed = {schema.name for schema in schemas if schema.domain == "" and schema.since_version <= 18}
    assert sorted(listed - set(FORMULAS)) == sorted(NOT_COUNTED.split())
