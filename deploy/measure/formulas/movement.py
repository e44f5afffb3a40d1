"""Operators that make, copy, reorder or choose; scattering with a sum is arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from adroit.deploy.measure.formulas.node import Formula, SizedNode, nothing, per_input
from adroit.models.operators.counts import OperationCounts

_NO_ARITHMETIC = """
    Identity Constant ConstantOfShape Range EyeLike OneHot Shape Size Cast CastLike BitCast Dropout
    Reshape Flatten Squeeze Unsqueeze Transpose Expand Tile Concat Split Slice Pad Trilu CenterCropPad ReverseSequence
    Gather GatherElements GatherND TensorScatter Compress Where DepthToSpace SpaceToDepth MaxUnpool
    SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
    SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement
"""


def _scatter(node: SizedNode) -> OperationCounts:
    """An addition, product or comparison an update, where updates of one place are combined."""
    if node.attribute("reduction", "none") == "none":
        return OperationCounts()
    return OperationCounts(elementwise=prod(node.input(2)))


FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(_NO_ARITHMETIC.split(), nothing),
    **dict.fromkeys(("ScatterND", "ScatterElements", "Scatter"), _scatter),
    # The reverse of Unfold adds each column's values to their places.
    "Col2Im": per_input(),
    # A comparison with zero an element.
    "NonZero": per_input(),
}
