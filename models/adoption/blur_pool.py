"""`BlurPool` of antialiased_cnns (once named `Downsample`) and `BlurPool2d` of timm become BinomialFilter.

Sources: github.com/adobe/antialiased-cnns, antialiased_cnns/blurpool.py; timm, timm/layers/blur_pool.py. The filter is
taken from the module, so that one that was changed stays what it is.
"""

from __future__ import annotations

import torch
from torch import nn

from adroit.models.adoption.replacement import NotAdopted, Replacement, class_names, one_number, require_tensors
from adroit.models.layers.anti_aliasing import BinomialFilter

_NAMES = {"BlurPool", "BlurPool2d", "Downsample"}
_ONE_DIMENSION = {"BlurPool1D", "Downsample1D"}
_MODES: dict[type[nn.Module], str] = {
    nn.ReflectionPad2d: "reflect",
    nn.ReplicationPad2d: "replicate",
    nn.ZeroPad2d: "constant",
}


def adopt_blur_pool(module: nn.Module) -> Replacement | None:
    """A BinomialFilter with the filter of `module`; None where the module is none of theirs.

    Raises:
        NotAdopted: a filter of one dimension, or with attributes of neither package.
    """
    names = class_names(module)
    kernel = module._buffers.get("filt")
    if kernel is None:  # `Downsample` is also a common name of other things
        return None
    if names & _ONE_DIMENSION:
        raise NotAdopted("it filters one dimension; BinomialFilter has two")
    if not names & _NAMES:
        return None
    require_tensors(module, (), {"filt"})
    size, stride = one_number(module, "filt_size"), one_number(module, "stride")
    mode, padding = _timm_padding(module) if "pad_mode" in vars(module) else _padding(module)
    channels = getattr(module, "channels", None)
    if channels is not None:
        channels = one_number(module, "channels")
    if kernel.shape != (channels or 1, 1, size, size):
        raise NotAdopted(f"its filter is {'x'.join(map(str, kernel.shape))}, not one for each channel")
    with torch.device("meta"):
        ours = BinomialFilter(channels, size, stride, mode, padding)
    ours.register_buffer("filt", kernel)
    ours.training = module.training
    # Sizes above twice the filter's, odd and even, so that each border and each way of rounding is met.
    return Replacement(ours, (1, channels or 2, 2 * size + 2 * stride + 1, 2 * size + 2 * stride + 2))


def _padding(module: nn.Module) -> tuple[str, tuple[int, int, int, int]]:
    """Mode and amounts of the padding layer that antialiased_cnns builds."""
    pad = module._modules.get("pad")
    if pad is None or len(module._modules) != 1 or type(pad) not in _MODES:
        raise NotAdopted(f"its padding is {pad}, not one of antialiased_cnns'")
    return _MODES[type(pad)], _four(getattr(pad, "padding", None))


def _timm_padding(module: nn.Module) -> tuple[str, tuple[int, int, int, int]]:
    mode = str(getattr(module, "pad_mode", None))
    if module._modules or mode not in _MODES.values():
        raise NotAdopted(f"its pad_mode is {mode!r}, not one of {', '.join(_MODES.values())}")
    return mode, _four(getattr(module, "padding", None))


def _four(amounts: object) -> tuple[int, int, int, int]:
    if not isinstance(amounts, list | tuple) or len(amounts) != 4 or not all(isinstance(a, int) for a in amounts):
        raise NotAdopted(f"its padding is {amounts!r}, not four whole numbers")
    left, right, top, bottom = amounts
    return left, right, top, bottom
