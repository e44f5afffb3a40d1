"""bfloat16 products; weights, sums of adder layers and what is saved stay float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from adroit.models.layers.adder import AdderConv2d
from adroit.models.training.loop import train
from adroit.models.training.options import Accelerator, RunOptions
from tests.models.training.conftest import image_recipe, quiet, routed_recipe

CPU = RunOptions(Accelerator.CPU)


@pytest.mark.parametrize("kind", ["images", "routed", "adder", "anti-aliased"])
def test_mixed_precision_trains_float32_weights(kind: str, images: Path, camvid: Path, tmp_path: Path) -> None:
    recipes = {
        "images": image_recipe(images, precise_batch_norm=2),
        "routed": routed_recipe(camvid, 2),
        "adder": replace(image_recipe(images), architecture="adder-lenet5-bn", arguments={}),
        "anti-aliased": replace(image_recipe(images), arguments={"width": 4}),
    }
    result = {}
    for precision in ("float32", "bfloat16"):
        recipe = recipes[kind]
        recipe = replace(recipe, optimizer=replace(recipe.optimizer, precision=precision))
        train(recipe, "", tmp_path / precision, quiet, CPU)
        result[precision] = load_file(tmp_path / precision / "model.safetensors")
    floats = [name for name, tensor in result["float32"].items() if tensor.is_floating_point()]
    assert all(result["bfloat16"][name].dtype == torch.float32 for name in floats)
    assert any(not torch.equal(result["bfloat16"][name], result["float32"][name]) for name in floats)
    assert all(result["bfloat16"][name].isfinite().all() for name in floats)


def test_adder_sums_are_float32_under_autocast() -> None:
    layer = AdderConv2d(3, 4, 3)
    x = torch.randn(1, 3, 5, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(x)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, layer(x.float()))
