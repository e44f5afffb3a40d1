"""The passes that every exported graph goes through, in their order.

Each is right for any graph, alone or with any of the others: what it cannot show to be valid it leaves. The mending
ones make right what ONNX Runtime would refuse, or compute otherwise than PyTorch; the others only save time.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from adroit.deploy.passes.drop_zero_bias import drop_zero_bias
from adroit.deploy.passes.exact_nearest import exact_nearest
from adroit.deploy.passes.fold_affine import fold_affine
from adroit.deploy.passes.fuse_relu import fuse_relu
from adroit.deploy.passes.fuse_residual import fuse_residual

Pass = Callable[[ir.Graph], int]
MENDING_PASSES: tuple[Pass, ...] = (exact_nearest, drop_zero_bias)
FUSING_PASSES: tuple[Pass, ...] = (fold_affine, fuse_residual, fuse_relu)
