"""The operations that choose, move or compare values, and so round nothing, or jump (see this folder's head)."""

from __future__ import annotations

_MOVES = """
_reshape_alias _unsafe_index _unsafe_view alias as_strided_copy as_strided_scatter broadcast_to cat channel_shuffle
clone constant_pad_nd contiguous copy diag diag_embed diagonal_scatter expand_copy fill_diagonal flatten flip gather
im2col index index_copy index_fill index_select masked_fill masked_scatter masked_select moveaxis
native_channel_shuffle permute_copy pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d
repeat replication_pad1d replication_pad2d replication_pad3d reshape roll rot90 select_scatter slice_scatter
split split_copy split_with_sizes squeeze_copy stack t_copy take tril triu unbind unfold_copy unsafe_chunk unsafe_split
unsafe_split_with_sizes unsqueeze_copy view_copy where
"""
_SELECTS = """
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax amin aminmax cummax cummin embedding embedding_renorm
fmax fmin fractional_max_pool2d hardshrink kthvalue max max_pool1d_with_indices max_pool2d max_pool2d_with_indices
max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d maximum median min minimum mode nan_to_num nanmedian relu
sort topk
_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_nearest1d upsample_nearest2d
upsample_nearest3d
"""
_JUMPS = "ceil fix floor floor_divide frac fmod heaviside nextafter remainder round sgn sign trunc"
_SIGNS = "abs absolute copysign neg negative positive"
_MAKES = """
_efficientzerotensor bernoulli empty empty_like empty_strided eye lift lift_fresh lift_fresh_copy new_empty
new_empty_strided new_ones new_zeros normal ones ones_like rand rand_like randn randn_like native_dropout one_hot
uniform zeros zeros_like zero detach detach_copy _to_copy to resize set
"""
# An operation that writes to its argument, such as relu_, is found by the name without the underscore.
EXACT = frozenset(f"aten.{name}" for group in (_MOVES, _SELECTS, _JUMPS, _SIGNS, _MAKES) for name in group.split())
