"""How an image becomes a network's input: one code for training, every runtime and serving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from adroit.errors import UsageError
from adroit.validation import Finite, ImageSize, PositiveInt, convert_values, rename_keys

Image = NDArray[np.uint8]

# Not PositiveInt: see adroit.validation on fixed-length tuples in a union.
Resize = Annotated[
    tuple[PositiveInt, PositiveInt] | int | Literal["keep"] | None,
    Meta(description='[height, width] in pixels, the shorter side, or "keep"'),
]
# Keys of version 0.1, and today's.
OLD_KEYS = {"deviation": "std"}


class Preprocessing(Struct, frozen=True, forbid_unknown_fields=True):
    """The steps from an image to a network's input, in their order; sizes are (height, width) in pixels.

    Attributes:
        channels: what the network expects; "gray" is ITU-R 601 luma.
        resize: (height, width) exactly, or the shorter side, as torchvision does it (bilinear, with Pillow). "keep":
            images of all sizes stay as they are; None too, but a classifier's export then resizes to the usual size.
        crop: None, or (height, width) cut from the center.
        divisor: pixel values 0 to 255 are divided by it (255 or 1).
        mean, std: subtracted, then divided by, per channel.
        pad_multiple: zeros are then added at the bottom and right until both sides are multiples of it;
            `unpadded` cuts them off an output of the input's size.
    """

    channels: Literal["rgb", "bgr", "gray"] = "rgb"
    resize: Resize = None
    crop: ImageSize | None = None
    divisor: Finite = 255.0
    mean: tuple[Finite, ...] = (0.0, 0.0, 0.0)
    std: tuple[Finite, ...] = (1.0, 1.0, 1.0)
    pad_multiple: PositiveInt = 1

    def __post_init__(self) -> None:
        if isinstance(self.resize, int) and self.resize < 1:
            raise ValueError(f"resize must be at least 1, and is {self.resize}")
        count = 1 if self.channels == "gray" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != count:
                raise ValueError(f"{name} must have a value for each of {count} channels, and has {len(values)}")
        if 0.0 in self.std or self.divisor == 0.0:
            raise ValueError("std and divisor divide: none may be 0")

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name, as `from_json` reads them."""
        return msgspec.structs.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str = "preprocessing") -> Preprocessing:
        """Reads what `to_json` gave, also that of version 0.1.

        Args:
            source: where the values are from, for the error.

        Raises:
            UsageError: fields that are unknown or have an impossible value.
        """
        return convert_values(rename_keys(values, OLD_KEYS), cls, source=source, noun="preprocessing")

    @property
    def size(self) -> tuple[int, int] | None:
        """The input's height and width where the steps fix them, whatever the image."""
        if self.crop:
            return self.padded_size(self.crop)
        return self.padded_size(self.resize) if isinstance(self.resize, tuple) else None

    def resized_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of an image of `size` after the resize alone: the largest that the steps hold in memory."""
        if self.resize is None or self.resize == "keep":
            return size
        if isinstance(self.resize, tuple):
            return self.resize
        if self.resize == min(size):
            return size
        # torchvision's rule: the longer side is cut off to a whole number of pixels.
        height, width = (self.resize if side == min(size) else int(self.resize * side / min(size)) for side in size)
        return height, width

    def geometry_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of `geometry`'s image for an image of `size`, without its pixels.

        Raises:
            UsageError: the image is smaller than the crop.
        """
        size = self.resized_size(size)
        if self.crop is None:
            return size
        _check_crop(size, self.crop)
        return self.crop

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The height and width of the network's input for an image of `size`; raises as `geometry_size`."""
        return self.padded_size(self.geometry_size(size))

    def padded_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The input's size for an image that has `size` after resize and crop."""
        height, width = (-(-side // self.pad_multiple) * self.pad_multiple for side in size)
        return height, width

    def unpadded(self, output: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
        """An output [...,H,W] of the padded input's size, cut back to the image's `size` (after resize and crop)."""
        return output[..., : size[0], : size[1]]

    def geometry(self, image: Image) -> Image:
        """Resizes and crops: [H,W,3] uint8 in and out."""
        size = self.resized_size((image.shape[0], image.shape[1]))
        image = resized(image, size)
        return image if self.crop is None else center_crop(image, self.crop)

    def values(self, images: Image) -> NDArray[np.float32]:
        """[N,H,W,3] uint8 to [N,C,H,W] float32: channel order, division, mean and std, padding."""
        x: NDArray[np.float32] = images.astype(np.float32)
        if self.channels == "gray":
            x = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        elif self.channels == "bgr":
            x = x[..., ::-1]
        mean, std = (np.array(v, np.float32) for v in (self.mean, self.std))
        x = (x / np.float32(self.divisor) - mean) / std
        planes: NDArray[np.float32] = np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)
        size = (planes.shape[2], planes.shape[3])
        more = [(0, padded - side) for padded, side in zip(self.padded_size(size), size, strict=True)]
        return planes if self.pad_multiple == 1 else np.pad(planes, [(0, 0), (0, 0), *more])


def resized(image: Image, size: tuple[int, int], nearest: bool = False) -> Image:
    """Resizes [H,W,3] or [H,W] uint8 to `size` (height, width), as Pillow does it: bilinear, or by nearest pixels."""
    from PIL import Image as Pillow

    if size == image.shape[:2]:
        return image
    how = Pillow.Resampling.NEAREST if nearest else Pillow.Resampling.BILINEAR
    return np.asarray(Pillow.fromarray(image).resize((size[1], size[0]), how))


def center_crop(image: Image, size: tuple[int, int]) -> Image:
    """Cuts `size` (height, width) from the center of [H,W,3]; raises UsageError where the image is smaller."""
    height, width = image.shape[:2]
    _check_crop((height, width), size)
    top, left = round((height - size[0]) / 2), round((width - size[1]) / 2)  # half to even, as torchvision does
    return image[top : top + size[0], left : left + size[1]]


def _check_crop(size: tuple[int, int], crop: tuple[int, int]) -> None:
    if size[0] < crop[0] or size[1] < crop[1]:
        raise UsageError(f"an image of {size[0]} x {size[1]} pixels is smaller than the crop of {crop[0]} x {crop[1]}")


# Images of other sizes become CIFAR-10's own.
CIFAR10 = Preprocessing(resize=32, crop=(32, 32), mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
IMAGENET = Preprocessing(resize=256, crop=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
# Dynamic Routing's: mean of BGR pixels, no division, sides that the deepest map divides.
ROUTED = Preprocessing(channels="bgr", divisor=1.0, mean=(103.530, 116.280, 123.675), pad_multiple=32)
