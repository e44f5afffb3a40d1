"""`Downsample_PASA_group_softmax` of Adaptive-anti-Aliasing becomes AdaptiveAntiAlias.

Source: github.com/MaureenZOU/Adaptive-anti-Aliasing, models_lpf/layers/pasa.py and the branches for segmentation and
instances; the last has frozen batch norms. Filters of that code that do not end in a softmax are left.
"""

from __future__ import annotations

import torch
from torch import nn

from adroit.errors import UsageError
from adroit.models.adoption.replacement import NotAdopted, Replacement, class_names, one_number, require_tensors
from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias
from adroit.models.operators.adaptive_filter import FILTER_SIZES, STRIDES

_NAME = "Downsample_PASA_group_softmax"
_INNER = {"pad", "conv", "bn", "softmax"}


def adopt_adaptive_filter(module: nn.Module) -> Replacement | None:
    """An AdaptiveAntiAlias with the convolution and the norm of `module`; None where the module is no PASA layer.

    Raises:
        NotAdopted: a PASA layer that the operator cannot express.
    """
    names = class_names(module)
    if _NAME not in names:
        if any("PASA" in name for name in names):
            raise NotAdopted("adroit has only the adaptive filter whose weights are a softmax over all groups")
        return None
    if set(module._modules) != _INNER:
        raise NotAdopted(f"its modules are {', '.join(sorted(module._modules)) or 'none'}")
    require_tensors(module, ())
    conv, norm, pad, softmax = (getattr(module, name) for name in ("conv", "bn", "pad", "softmax"))
    size, stride, groups = (one_number(module, name) for name in ("kernel_size", "stride", "group"))
    if type(conv) is not nn.Conv2d or conv.bias is not None or conv.kernel_size != (size, size):
        raise NotAdopted(f"its conv is {conv}, not a Conv2d of {size} x {size} without bias")
    if conv.stride != (1, 1) or conv.padding != (0, 0) or conv.dilation != (1, 1) or conv.groups != 1:
        raise NotAdopted(f"its conv is {conv}, not one with stride 1 and without padding, dilation and groups")
    if type(pad) is not nn.ReflectionPad2d:
        raise NotAdopted(f"its padding is {type(pad).__name__}; adroit's filter reflects")
    if type(softmax) is not nn.Softmax or softmax.dim != 1:
        raise NotAdopted(f"its softmax is {softmax}, not one over the channels")
    if size not in FILTER_SIZES or stride not in STRIDES:
        raise NotAdopted(f"its kernel_size is {size} and its stride {stride}; adroit's filter has 3, 5, 7 and 1, 2")
    try:
        with torch.device("meta"):
            ours = AdaptiveAntiAlias(conv.in_channels, size, stride, groups)
    except UsageError as error:
        raise NotAdopted(error.message) from error
    ours.conv.weight = conv.weight
    ours.bn = norm
    ours.training, ours.conv.training = module.training, conv.training
    return Replacement(ours, (2, conv.in_channels, size + 2, size + 3))
