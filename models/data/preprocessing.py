"""How an image becomes a network's input: one code for training, every runtime and serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adroit.errors import UsageError

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Preprocessing:
    """Steps in their order; sizes are (height, width) in pixels.

    Attributes:
        channels: what the network expects; "gray" is ITU-R 601 luma.
        resize: None, (height, width) exactly, or the shorter side (bilinear, as Pillow does it).
        crop: None, or (height, width) cut from the center.
        divisor: pixel values 0 to 255 are divided by it (255 or 1).
        mean, deviation: subtracted, then divided by, per channel.
        pad_multiple: zeros are then added at the bottom and right until both sides are multiples of it;
            `unpadded` cuts them off an output of the input's size.
    """

    channels: Literal["rgb", "bgr", "gray"] = "rgb"
    resize: tuple[int, int] | int | None = None
    crop: tuple[int, int] | None = None
    divisor: float = 255.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)
    pad_multiple: int = 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Raises UsageError for fields that are unknown or have an impossible value."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise UsageError(f"preprocessing has no field {', '.join(sorted(unknown))}")
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        made = cls(**given)
        numbers = (*made.mean, *made.deviation, made.divisor)
        sizes = [made.crop, made.resize if isinstance(made.resize, tuple) else (made.resize or 1,) * 2, (1, 1)]
        whole = all(isinstance(n, int) and n > 0 for size in sizes if size is not None for n in size)
        if made.resize == 0 or not whole or not all(isinstance(n, (int, float)) for n in numbers):
            raise UsageError("preprocessing: sizes are whole numbers above 0, mean, deviation and divisor are numbers")
        count = 1 if made.channels == "gray" else 3
        if made.channels not in ("rgb", "bgr", "gray"):
            raise UsageError(f"preprocessing: channels is rgb, bgr or gray, not {made.channels!r}")
        if len(made.mean) != count or len(made.deviation) != count or 0 in made.deviation or made.divisor == 0:
            raise UsageError(f"preprocessing: mean and deviation need {count} values, and no divisor may be 0")
        if not isinstance(made.pad_multiple, int) or made.pad_multiple < 1:
            raise UsageError(f"preprocessing: pad_multiple is a whole number of at least 1, not {made.pad_multiple!r}")
        return made

    @property
    def size(self) -> tuple[int, int] | None:
        """The input's height and width where the steps fix them, whatever the image."""
        if self.crop:
            return self.padded_size(self.crop)
        return self.padded_size(self.resize) if isinstance(self.resize, tuple) else None

    def padded_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The input's size for an image that has `size` after resize and crop."""
        height, width = (-(-side // self.pad_multiple) * self.pad_multiple for side in size)
        return height, width

    def unpadded(self, output: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
        """An output [...,H,W] of the padded input's size, cut back to the image's `size` (after resize and crop)."""
        return output[..., : size[0], : size[1]]

    def geometry(self, image: Image) -> Image:
        """Resize and crop only: [H,W,3] uint8 in and out."""
        if self.resize is not None:
            image = _resized(image, self.resize)
        if self.crop is not None:
            image = center_crop(image, self.crop)
        return image

    def values(self, images: Image) -> NDArray[np.float32]:
        """[N,H,W,3] uint8 to [N,C,H,W] float32: channel order, division, mean and deviation, padding."""
        x: NDArray[np.float32] = images.astype(np.float32)
        if self.channels == "gray":
            x = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        elif self.channels == "bgr":
            x = x[..., ::-1]
        mean, deviation = (np.array(v, np.float32) for v in (self.mean, self.deviation))
        x = (x / np.float32(self.divisor) - mean) / deviation
        planes: NDArray[np.float32] = np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)
        size = (planes.shape[2], planes.shape[3])
        more = [(0, padded - side) for padded, side in zip(self.padded_size(size), size, strict=True)]
        return planes if self.pad_multiple == 1 else np.pad(planes, [(0, 0), (0, 0), *more])


def _resized(image: Image, size: tuple[int, int] | int) -> Image:
    from PIL import Image as Pillow

    height, width = image.shape[:2]
    if isinstance(size, int):
        short = min(height, width)
        size = (round(height * size / short), round(width * size / short))
    if size == (height, width):
        return image
    return np.asarray(Pillow.fromarray(image).resize((size[1], size[0]), Pillow.Resampling.BILINEAR))


def center_crop(image: Image, size: tuple[int, int]) -> Image:
    """[H,W,3] to `size` (height, width); raises UsageError where the image is smaller."""
    height, width = image.shape[:2]
    if height < size[0] or width < size[1]:
        raise UsageError(f"an image of {height} x {width} pixels is smaller than the crop of {size[0]} x {size[1]}")
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return image[top : top + size[0], left : left + size[1]]


CIFAR10 = Preprocessing(mean=(0.4914, 0.4822, 0.4465), deviation=(0.2023, 0.1994, 0.2010))
IMAGENET = Preprocessing(resize=256, crop=(224, 224), mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))
# Dynamic Routing's: mean of BGR pixels, no division, sides that the deepest map divides.
ROUTED = Preprocessing(channels="bgr", divisor=1.0, mean=(103.530, 116.280, 123.675), pad_multiple=32)
