"""The generic perceptual loss: how far apart two maps are in the eyes of a network with random weights.

Source: "Generic Perceptual Loss for Modeling Structured Output Dependencies", arXiv 2103.10571: the loss is
the sum over chosen layers l of MSE(phi_l(prediction), phi_l(target)), added to the task's own with a weight.
phi is a VGG that nobody has trained; its layout, not what it was trained on, is what makes it work.

phi sees the map itself: a segmentation's scores (softmax; as many input channels as classes), a depth map,
instance masks' scores (sigmoid), or an image. One-hot labels are far from any softmax and hard to come near:
the paper takes the scores of a larger network, the teacher, as targets for segmentation and masks; depth and
images take the truth.

The paper's weight, layers, widths and resolution are not known to us. Chosen here: weight 1
(models/training/methods/perceptual_loss.py), the last ReLU of each of the five blocks, VGG's widths, the maps' own
resolution; all are arguments. There is no official code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.losses.precision import in_float32

# He's, of the fan-in, as in the paper's derivation. torch's own default is 1 / sqrt(3).
PAPER_GAIN = math.sqrt(2.0)
# Convolutions in front of each max pooling; the one the paper recommends, and VGG-16 and 19.
RECOMMENDED_LAYOUT = (1, 1, 1, 1, 1)
VGG16_LAYOUT, VGG19_LAYOUT = (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
_BLOCKS = 5
# The fourth pooling would leave nothing of fewer pixels a side.
MINIMUM_SIZE = 1 << (_BLOCKS - 1)
Levels = Literal["blocks", "last", "all"]
LEVELS: tuple[Levels, ...] = get_args(Levels)


def score_map(logits: Tensor) -> Tensor:
    """Segmentation logits [N,classes,H,W] as probabilities."""
    return in_float32(logits).softmax(1)


def mask_map(logits: Tensor) -> Tensor:
    """Logits of instance masks [N,1,H,W], one instance a sample, as probabilities."""
    return in_float32(logits).sigmoid()


# What a network gives, by kind of task, to what phi sees.
MAPS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "scores": score_map,
    "masks": mask_map,
    "depth": in_float32,
    "image": in_float32,
}


def one_hot_map(labels: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[N,H,W] int64 as [N,classes,H,W]; labels that are no class are 0 everywhere."""
    return torch.stack([labels == k for k in range(classes)], dim=1).to(dtype)


class RandomVgg(nn.Module):
    """VGG's convolutions, ReLUs and max poolings with random, frozen weights and no biases.

    It holds neither parameters nor anything a checkpoint keeps; the weights follow the seed alone (they
    leave torch's generators as they are), and are used in the input's device and dtype.

    Args:
        channels: of the input.
        layout: a,b,c,d,e: convolutions, each with its ReLU, in front of each of the five 2 x 2 poolings. The
            last pooling, which nothing follows, is left out.
        width: of the first block; the others have 2, 4, 8 and 8 times as many channels.
        kernel_size: odd; the paper gains a little with larger ones.
        gain: weights are normal with mean 0 and standard deviation gain / sqrt(fan-in). With the paper's sqrt(2) the
            distance of two close maps keeps its size over VGG-19's 16 layers (that of unrelated ones falls to
            some hundredths: to a deep random network all inputs look alike); with 1 it vanishes, with 2 it explodes.

    Raises:
        UsageError: a layout, width or kernel that makes no VGG.
    """

    def __init__(
        self,
        channels: int,
        layout: Sequence[int] = RECOMMENDED_LAYOUT,
        width: int = 64,
        kernel_size: int = 3,
        gain: float = PAPER_GAIN,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(layout) != _BLOCKS or min(layout) < 1:
            raise UsageError(f"a VGG's layout is {_BLOCKS} numbers of at least 1, not {list(layout)}")
        if width < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise UsageError(f"a VGG has a width of at least 1 and an odd kernel, not {width} and {kernel_size}")
        generator = torch.Generator().manual_seed(seed)
        self.channels, self.layout, self._padding = channels, tuple(layout), kernel_size // 2
        for block, (convolutions, factor) in enumerate(zip(layout, (1, 2, 4, 8, 8), strict=True)):
            for index in range(convolutions):
                shape = (width * factor, channels, kernel_size, kernel_size)
                std = gain / math.sqrt(channels * kernel_size**2)
                weight = std * torch.randn(shape, generator=generator)
                self.register_buffer(f"weight_{block}_{index}", weight, persistent=False)
                channels = width * factor

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """The ReLUs' outputs, block by block, of [N,channels,H,W].

        Raises:
            UsageError: other channels, or fewer than MINIMUM_SIZE pixels a side.
        """
        if x.shape[1] != self.channels or min(x.shape[2:]) < MINIMUM_SIZE:
            raise UsageError(
                f"the perceptual network takes [N,{self.channels},H,W] of at least {MINIMUM_SIZE} pixels a side,"
                f" not {list(x.shape)}"
            )
        outputs: list[list[Tensor]] = []
        for block, convolutions in enumerate(self.layout):
            x = functional.max_pool2d(x, 2) if block else x
            outputs.append([])
            for index in range(convolutions):
                weight = self.get_buffer(f"weight_{block}_{index}").to(x)
                x = functional.conv2d(x, weight, padding=self._padding).relu()
                outputs[block].append(x)
        return outputs


class GenericPerceptualLoss(nn.Module):
    """Sum over levels of the mean squared difference between two maps' embeddings; 0 for equal maps.

    The target's embedding is a constant: no gradient goes to the target.

    Args:
        network: phi.
        levels: "blocks" (the last ReLU of each block), "last" (that of the last block) or "all".
        shrink: the maps are averaged over squares of this many pixels before phi sees them, which takes
            its square off the cost.
    """

    def __init__(self, network: RandomVgg, levels: Levels = "blocks", shrink: int = 1) -> None:
        super().__init__()
        if levels not in LEVELS or shrink < 1:
            raise UsageError(f"levels are {', '.join(LEVELS)}, and shrink at least 1, not {levels!r} and {shrink}")
        self.network, self.levels, self.shrink = network, levels, shrink

    def forward(self, prediction: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
        """A scalar of float32, or float64 if the prediction is.

        Args:
            prediction, target: [N,C,H,W], as MAPS makes them.
            counted: [N,1,H,W] bool; both maps become 0 where it is false (depth or labels that are not known).
        """
        if prediction.shape != target.shape:
            raise UsageError(f"prediction and target differ: {list(prediction.shape)} and {list(target.shape)}")
        with torch.no_grad():
            target_levels = self.embedding(target.to(prediction), counted)
        levels = self.embedding(prediction, counted)
        differences = [in_float32(a) - in_float32(b) for a, b in zip(levels, target_levels, strict=True)]
        return torch.stack([d.square().mean() for d in differences]).sum()

    def embedding(self, x: Tensor, counted: Tensor | None = None) -> list[Tensor]:
        """phi_l for every chosen l; arguments as for `forward`."""
        x = x if counted is None else x * counted
        blocks = self.network(functional.avg_pool2d(x, self.shrink) if self.shrink > 1 else x)
        if self.levels == "all":
            return [level for block in blocks for level in block]
        return [block[-1] for block in (blocks if self.levels == "blocks" else blocks[-1:])]
