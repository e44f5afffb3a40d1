"""`adder2d` of AdderNet and of its copies becomes AdderConv2d.

Sources: github.com/huawei-noah/AdderNet, adder.py; github.com/GATECH-EIC/ShiftAddNet, adder/adder.py, whose `Adder2D`
has options for quantization and sparsity. Copies of the first are in many repositories, some of them changed.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from adroit.models.adoption.replacement import (
    NotAdopted,
    Replacement,
    class_names,
    one_number,
    plain_attributes,
    require_tensors,
)
from adroit.models.layers.adder import AdderConv2d

_CALLS_ITSELF_ADDER = re.compile(r"(^|[^A-Za-z])adder|Adder")  # not "LadderNet"
_NAMES = {"adder2d", "Adder2D", "Adder2d"}
_OFFICIAL = {"stride", "padding", "input_channel", "output_channel", "kernel_size", "bias"}
_SHIFT_ADD = _OFFICIAL | {"eta", "quantize", "weight_bits", "sparsity", "quantize_v", "qadder"}
# Options that change the arithmetic, with the value that does not.
_OFF = {"quantize": False, "sparsity": 0, "dilation": 1, "groups": 1}


def adopt_adder(module: nn.Module) -> Replacement | None:
    """An AdderConv2d with the weight of `module`; None where the module is no adder layer.

    Raises:
        NotAdopted: an adder layer of other arithmetic or of unknown attributes.
    """
    names = class_names(module)
    if isinstance(module, AdderConv2d):
        return None
    if not names & _NAMES:
        _refuse_unknown(module)
        return None
    for name, off in _OFF.items():
        if getattr(module, name, off) not in (off, (off, off)):
            raise NotAdopted(f"its {name} is {getattr(module, name)!r}; AdderConv2d has no such option")
    has_bias = "b" in module._parameters
    require_tensors(module, {"adder", "b"} if has_bias else {"adder"})
    if bool(getattr(module, "bias", False)) != has_bias:
        raise NotAdopted("its `bias` does not agree with its parameter `b`")
    weight = module._parameters["adder"]
    if weight is None or weight.dim() != 4:
        raise NotAdopted("its parameter `adder` is not [M,C,kH,kW]")
    stride, padding = one_number(module, "stride"), one_number(module, "padding")
    filters, channels, *kernel = weight.shape
    with torch.device("meta"):
        ours = AdderConv2d(channels, filters, kernel[0], stride, padding, bias=has_bias)
    ours.weight = weight
    if has_bias:
        ours.bias = module._parameters["b"]
    if "eta" in plain_attributes(module):
        ours.eta = float(getattr(module, "eta"))  # noqa: B009
    ours.training = module.training
    # Two or three positions each way, the last column not reached by the stride: cheap, and enough to tell.
    height = max(1, kernel[0] - 2 * padding + stride)
    example = (1, channels, height, max(1, kernel[1] - 2 * padding + stride) + 1)
    trusted = type(module).__name__ in _NAMES and plain_attributes(module) in (_OFFICIAL, _SHIFT_ADD)
    return Replacement(ours, example, trusted, (("adder", "weight"), ("b", "bias")))


def _refuse_unknown(module: nn.Module) -> None:
    """Raises NotAdopted for a layer of unknown class that calls itself an adder and has a kernel."""
    if not _CALLS_ITSELF_ADDER.search(type(module).__name__) or module._modules:
        return
    if any(value is not None and value.dim() == 4 for value in module._parameters.values()):
        raise NotAdopted("adroit does not know this adder layer; write it with adroit.nn.AdderConv2d")
