"""The colors of classes in pictures of segmentations."""

from __future__ import annotations

from functools import cache

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
