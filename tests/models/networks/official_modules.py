"""The published dynamic-routing modules, imported from a clone of their repository, without what they do not use.

Set ADROIT_OFFICIAL to a folder with a clone of Megvii-BaseDetection/DynamicRouting, under its own name. Nothing of it
is in this repository.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adroit.models.routing.space import SCALES


class OfficialNetwork(nn.Module):
    """The published backbone and head, under the names that a published checkpoint has."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.sem_seg_head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        """Logits of one image, [1,3,H,W]."""
        logits: Tensor = self.sem_seg_head(self.backbone(x)[0])[0]
        return logits


def official_network(
    monkeypatch: pytest.MonkeyPatch, depth: int, width: int, classes: int, gate: str, separable_stem: bool = True
) -> OfficialNetwork:
    """Builds it for images of 128 x 160 pixels (only its counts depend on that); skips without the repository."""
    folder = os.environ.get("ADROIT_OFFICIAL")
    if folder is None:
        pytest.skip("ADROIT_OFFICIAL names no folder with the public repositories")
    root = Path(folder) / "DynamicRouting" / "dl_lib"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    arch, head = _modules(root, monkeypatch)
    backbone = arch.DynamicNetwork(
        width,
        (3, 128, 160),
        [min(layer + 2, SCALES) for layer in range(depth)],
        depth,
        norm="nnSyncBN",
        cal_flops=False,
        cell_type=["sep_conv_3x3", "skip_connect"],
        sep_stem=separable_stem,
        using_gate=gate != "none",
        small_gate=gate == "small",
    )
    settings = SimpleNamespace(
        IN_FEATURES=[f"layer_{scale}" for scale in range(SCALES)],
        IGNORE_VALUE=255,
        NUM_CLASSES=classes,
        NORM="nnSyncBN",
        LOSS_WEIGHT=1.0,
    )
    model = SimpleNamespace(SEM_SEG_HEAD=settings, CAL_FLOPS=False)
    decoder = head.SemSegDecoderHead(SimpleNamespace(MODEL=model), backbone.output_shape())
    return OfficialNetwork(backbone, decoder).eval()


def _modules(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The modules of backbone and head. Packages are not run: they import compiled operators and data sets."""

    def stub(name: str, folder: str | None = None, **content: Any) -> None:
        module = types.ModuleType(name)
        module.__path__ = [str(root / folder)] if folder is not None else []
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    for name in [name for name in sys.modules if name.partition(".")[0] == "dl_lib"]:
        monkeypatch.delitem(sys.modules, name)
    norms = {"BatchNorm2d": nn.BatchNorm2d, "NaiveSyncBatchNorm": nn.BatchNorm2d}
    stub("dl_lib", "")
    stub("dl_lib.layers", "layers")
    stub("dl_lib.layers.batch_norm", None, **norms)
    wrappers, shapes = (importlib.import_module(f"dl_lib.layers.{name}") for name in ("wrappers", "shape_spec"))
    layers = {"Conv2d": wrappers.Conv2d, "ShapeSpec": shapes.ShapeSpec}
    stub("dl_lib.layers", "layers", get_norm=lambda name, channels: nn.BatchNorm2d(channels), **layers)
    stub("dl_lib.modeling", "modeling")
    stub("dl_lib.modeling.backbone", "modeling/backbone", Backbone=nn.Module)
    stub("dl_lib.modeling.nn_utils", "modeling/nn_utils")
    stub("dl_lib.modeling.dynamic_arch", "modeling/dynamic_arch")
    stub("dl_lib.modeling.meta_arch", "modeling/meta_arch")
    stub("dl_lib.modeling.postprocessing", None, sem_seg_postprocess=None)
    stub("dl_lib.structures", None, ImageList=None)
    # An ungated network makes its ones on a GPU.
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    arch = importlib.import_module("dl_lib.modeling.dynamic_arch.dynamic_backbone")
    return arch, importlib.import_module("dl_lib.modeling.meta_arch.dynamic4seg")
