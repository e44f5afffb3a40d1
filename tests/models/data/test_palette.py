import numpy as np
from PIL import Image

from adroit.models.data.palette import color_palette

# The first colors of PASCAL VOC's segmentations, and its color of "no class".
VOC = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (0, 128, 0),
    3: (128, 128, 0),
    4: (0, 0, 128),
    8: (64, 0, 0),
    15: (192, 128, 128),
    255: (224, 224, 192),
}


def test_colors_are_those_of_pascal_voc():
    colors = np.frombuffer(color_palette(), np.uint8).reshape(256, 3)
    assert {value: tuple(colors[value].tolist()) for value in VOC} == VOC


def test_every_value_has_a_color_of_its_own():
    assert len({color_palette()[3 * value : 3 * value + 3] for value in range(256)}) == 256


def test_a_picture_with_the_palette_keeps_its_values():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = Image.fromarray(values)
    picture.putpalette(color_palette())
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), values)
