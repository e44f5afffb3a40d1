"""The operators that a stored program may call: an explicit list, and which arguments of theirs are taken.

Left out on purpose: operators that draw random numbers, whose result's shape depends on the data
(`nonzero`, `masked_select`, `item`), that see memory or files behind a tensor (`as_strided`, `set_`, `resize_`,
`view.dtype`, `from_file`), and everything complex or sparse.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

import adroit.models.operators.adaptive_filter
import adroit.models.operators.adder_conv2d
import adroit.models.operators.quantized_adder_conv2d
import adroit.models.operators.routing_gate  # noqa: F401  (registers torch.ops.adroit.*)
from adroit.deploy.reference.program import Argument, Device, DType, Node, place
from adroit.errors import UnsupportedModel

_ATEN = """
abs acos acosh add addcdiv addcmul addmm asin asinh atan atan2 atanh baddbmm bmm ceil clamp clamp_max clamp_min
clip cos cosh div divide dot erf erfc exp exp2 expm1 floor floor_divide fmod frac hypot lerp linear log log10 log1p
log2 logaddexp logit matmul maximum minimum mm mul multiply mv neg negative pow reciprocal remainder round rsqrt
rsub sgn sigmoid sign sin sinc sinh sqrt square sub subtract tan tanh true_divide trunc xlogy
bitwise_and bitwise_not bitwise_or bitwise_xor eq ge greater greater_equal gt isfinite isinf isnan le less less_equal
logical_and logical_not logical_or logical_xor lt ne not_equal nan_to_num where masked_fill
all amax amin aminmax any argmax argmin count_nonzero cummax cummin cumprod cumsum linalg_norm linalg_vector_norm
logcumsumexp logsumexp max mean median min norm frobenius_norm prod std std_mean sum var var_mean
argsort sort topk kthvalue
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool1d_with_indices max_pool2d
max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d
conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution bilinear einsum tensordot
batch_norm group_norm instance_norm layer_norm native_group_norm native_layer_norm rms_norm
celu elu gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid log_softmax mish prelu relu relu6
rrelu selu silu softmax softplus softshrink threshold
dropout feature_dropout alpha_dropout feature_alpha_dropout scaled_dot_product_attention
affine_grid_generator channel_shuffle col2im grid_sampler grid_sampler_2d im2col native_channel_shuffle pad
constant_pad_nd pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
replication_pad2d replication_pad3d upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d
_upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa cosine_similarity pairwise_distance cdist
cross outer vdot _weight_norm lstm gru rnn_tanh rnn_relu
alias atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to cat chunk clone concat concatenate contiguous
detach diag_embed diagonal expand expand_as flatten flip fliplr flipud hstack vstack dstack lift_fresh_copy
meshgrid moveaxis movedim narrow narrow_copy numpy_T permute ravel repeat repeat_interleave reshape reshape_as roll
rot90 select slice split split_with_sizes squeeze stack swapaxes swapdims t tensor_split tile transpose tril triu
unbind unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze view view_as _unsafe_view
select_scatter slice_scatter diagonal_scatter _reshape_alias
gather index index_add index_copy index_fill index_put index_select scatter scatter_add scatter_reduce take
take_along_dim embedding one_hot masked_scatter bucketize searchsorted
arange empty empty_like full full_like linspace eye new_empty new_full new_ones new_zeros ones ones_like scalar_tensor
tril_indices triu_indices zeros zeros_like
to _to_copy type_as sym_size sym_numel
"""
# These change their first argument, as the user's network does; never a weight (interpret.py sees to it).
_ATEN_IN_PLACE = """
abs_ add_ addcdiv_ addcmul_ celu_ clamp_ clamp_max_ clamp_min_ copy_ cos_ detach_ div_ dropout_ elu_ exp_ fill_ floor_
gelu_ hardsigmoid_ hardswish_ hardtanh_ index_add_ index_copy_ index_fill_ index_put_ leaky_relu_ log_ masked_fill_
mish_ mul_ neg_ pow_ reciprocal_ relu_ relu6_ round_ rsqrt_ scatter_ scatter_add_ selu_ sigmoid_ silu_ sin_ sqrt_
square_ squeeze_ sub_ tanh_ threshold_ transpose_ tril_ triu_ unsqueeze_ zero_
"""
_ADROIT = "adder_conv2d adaptive_filter q_adder_conv2d q_adder_conv2d_add routing_gate"
_ARITHMETIC = "add sub mul floordiv mod truediv neg eq ne lt le gt ge and_ or_ not_"
_SPLITTING = "unbind split chunk tensor_split unsafe_split unsafe_chunk split_with_sizes"
_PACKETS: Mapping[str, frozenset[str]] = {
    "aten": frozenset((*_ATEN.split(), *_ATEN_IN_PLACE.split())),
    "adroit": frozenset(_ADROIT.split()),
}
_REFUSED = frozenset(("aten.view.dtype", "aten.repeat_interleave.Tensor"))

# Arithmetic with sizes.
NUMBERS: Mapping[str, Callable[..., Any]] = {
    **{f"operator.{name}": getattr(operator, name) for name in _ARITHMETIC.split()},
    "math.floor": math.floor,
    "math.ceil": math.ceil,
    "math.trunc": math.trunc,
    "torch.sym_int": int,
    "torch.sym_float": float,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
    "torch.sym_sum": lambda terms: sum(terms),
}
GETITEM = "operator.getitem"
# A condition on sizes under which the program is the network: a branch of the user's code was captured one way.
REQUIRE = "require"
COND, CALL = "cond", "call"
STRUCTURAL = frozenset((GETITEM, REQUIRE, COND, CALL))
# Results are whatever memory holds; here they are zeros, so that nothing leaks and runs are alike.
UNFILLED = frozenset(("empty", "empty_like", "new_empty"))
# Results are lists with an element for each slice of the dimension `dim`.
LISTS = frozenset(_SPLITTING.split())


def resolve(name: str) -> Callable[..., Any] | None:
    """The function that `name` stands for; None for what run.py does itself.

    Only names of the list are looked up.

    Raises:
        KeyError: the operator is not on the list.
    """
    if name in STRUCTURAL:
        return None
    if name in NUMBERS:
        return NUMBERS[name]
    words = name.split(".")
    if len(words) != 3 or words[1] not in _PACKETS.get(words[0], ()) or name in _REFUSED:
        raise KeyError(name)
    packet = getattr(getattr(torch.ops, words[0]), words[1])
    if words[2] not in packet.overloads():  # never `getattr` with a word of a file that is no overload
        raise KeyError(name)
    overload = getattr(packet, words[2])
    written = [i for i, a in enumerate(overload._schema.arguments) if a.alias_info and a.alias_info.is_write]
    if written != ([0] if words[1].endswith("_") else []):
        raise KeyError(name)
    return overload  # type: ignore[no-any-return]


def bind(function: Any, args: Sequence[Argument], kwargs: Mapping[str, Argument]) -> dict[str, Argument]:
    """Arguments by the names of the operator's schema.

    Raises:
        TypeError: too many, unknown, or given twice.
    """
    names = [argument.name for argument in function._schema.arguments]
    bound = dict(zip(names, args, strict=False))
    if len(args) > len(names) or kwargs.keys() & bound.keys() or kwargs.keys() - set(names):
        raise TypeError(f"the arguments do not fit {function._schema}")
    return bound | dict(kwargs)


def check_arguments(node: Node, function: Any) -> None:
    """Refuses calls that are random, that learn, or that name a device.

    Raises:
        UnsupportedModel: such a call. TypeError: arguments that are not the operator's.
    """
    given = bind(function, node.args, node.kwargs)
    learns = given.get("training") or given.get("train") or given.get("use_input_stats")
    # Without stored statistics a norm uses the input's own, in evaluation too.
    if learns and ("running_mean" not in given or given["running_mean"] is not None):
        raise UnsupportedModel(
            "a layer is in training mode: its result is random or changes the network",
            facts=place(node),
            hint="call network.eval() first, and give dropout `training=self.training`",
        )
    if given.get("dropout_p", 0.0) != 0.0:
        raise UnsupportedModel(
            "attention with dropout is random",
            facts=place(node),
            hint="give `dropout_p=self.dropout if self.training else 0.0`",
        )
    typed = [
        isinstance(given.get("dtype"), DType | None),
        isinstance(given.get("device"), Device | None),
        given.get("layout") is None,
        not given.get("pin_memory"),
    ]
    if not all(typed):
        raise TypeError("dtype, device or layout is not given as such")
