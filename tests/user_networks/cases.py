"""The matrix: each network with its inputs, and two sizes to try it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tests.user_networks import attention, convolutional, dense, layers

Dims = tuple[int | str, ...]
IMAGE: Dims = ("batch", 3, "height", "width")


@dataclass(frozen=True)
class Case:
    """A network of a user's.

    Attributes:
        build: gives the network. inputs: dimensions by name, in the order of `forward`; letters are free.
        sizes: two choices for the free dimensions other than the batch.
        default_type: computes in PyTorch's default type on the way, so that `network.double()` is not all float64.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Mapping[str, Dims] = field(default_factory=lambda: {"image": IMAGE})
    sizes: tuple[Mapping[str, int], Mapping[str, int]] = ({"height": 32, "width": 48}, {"height": 64, "width": 32})
    default_type: bool = False

    def network(self) -> nn.Module:
        """In evaluation mode, seeded, with statistics of batch norms that are not those of its start."""
        torch.manual_seed(0)
        network = self.build()
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        return network.eval()

    def tensors(self, batch: int, size: int, seed: int = 0) -> list[Tensor]:
        """Random float32 inputs in order, for the first or second of the sizes."""
        generator = torch.Generator().manual_seed(seed)
        known = {"batch": batch, **self.sizes[size]}
        return [
            torch.randn([d if isinstance(d, int) else known[d] for d in dims], generator=generator)
            for dims in self.inputs.values()
        ]

    def free(self, name: str) -> dict[int, str]:
        """The free dimensions of an input, by their place."""
        return {axis: d for axis, d in enumerate(self.inputs[name]) if isinstance(d, str)}


ODD = ({"height": 33, "width": 47}, {"height": 64, "width": 38})
CASES = (
    Case("mobilenet_v3", convolutional.MobileNetV3Like),
    Case("convnext", convolutional.ConvNeXtLike),
    Case("densenet", convolutional.DenseNetLike, sizes=ODD),
    Case("grouped_dilated", convolutional.GroupedDilated, sizes=ODD),
    Case("gray_digits", convolutional.GrayDigits, {"image": ("batch", 1, 28, 28)}, sizes=({}, {})),
    Case("unet_nearest", lambda: dense.UNet("nearest"), sizes=ODD),
    Case("unet_bilinear", lambda: dense.UNet("bilinear"), sizes=ODD),
    Case("unet_transposed", lambda: dense.UNet("transposed"), sizes=ODD),
    Case("segmentation_head", dense.SegmentationHead, sizes=ODD),
    Case("feature_pyramid", dense.FeaturePyramid, sizes=ODD),
    Case("two_eyes", dense.TwoEyes, {"left": IMAGE, "right": IMAGE}),
    Case("image_and_state", dense.ImageAndState, {"image": IMAGE, "state": ("batch", 4)}),
    Case("adder_vit", attention.AdderViT),
    Case("window_attention", attention.WindowAttention),
    Case(
        "token_encoder",
        attention.TokenEncoder,
        {"tokens": ("batch", "L", 16)},
        sizes=({"L": 7}, {"L": 20}),
        default_type=True,
    ),
    Case("activations", layers.Activations, sizes=ODD),
    Case("norms", layers.Norms, sizes=ODD),
    Case("movements", layers.Movements, default_type=True),
    Case("poolings", layers.Poolings),
    Case("text_reader", layers.TextReader, {"image": ("batch", 1, 32, "width")}),
    Case("coordinates", layers.Coordinates, sizes=ODD, default_type=True),
)
BY_NAME = {case.name: case for case in CASES}
