"""The colors of classes in pictures of segmentations."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image as Pillow

_CLASSES = 256


@cache
def color_palette() -> bytes:
    """Returns a color for each of the 256 values of a byte: 768 bytes, red, green, blue of value 0 first.

    Value 0 is black; any two values differ. It is the color map of the PASCAL VOC segmentation challenge: the bits of
    a value, lowest first and three at a time, are spread over the three channels from the highest bit down, so that
    neighboring classes are far apart in color.
    """
    return bytes(_channel(value, channel) for value in range(_CLASSES) for channel in range(3))


def _channel(value: int, channel: int) -> int:
    """Collects every third bit of `value`, from bit `channel` on, in reverse order."""
    bits = (value >> (3 * place + channel) & 1 for place in range(3))
    return sum(bit << 7 - place for place, bit in enumerate(bits))


def palette_png(classes: NDArray[np.uint8]) -> bytes:
    """Writes classes [H,W] as a PNG with a palette: its bytes are the classes, its picture their colors."""
    image = _gray_image(classes)
    image.putpalette(color_palette())
    return _png(image)


def gray_png(classes: NDArray[np.uint8]) -> bytes:
    """Writes classes [H,W] as a gray PNG, from which any decoder, a browser's too, gives the classes."""
    return _png(_gray_image(classes))


def _gray_image(classes: NDArray[np.uint8]) -> Pillow.Image:
    from PIL import Image as Pillow

    return Pillow.fromarray(classes)


def _png(image: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
