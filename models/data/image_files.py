"""Image files as pixels: upright, RGB, one byte a value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adroit.errors import UsageError
from adroit.models.data.preprocessing import Image

if TYPE_CHECKING:
    from PIL import Image as Pillow

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})
# How the files of those suffixes begin: names of downloads often lack theirs.
_BEGINNINGS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"BM", b"P5", b"P6", b"II*\x00", b"MM\x00*")
_ZIP = b"PK\x03\x04"


def visible(folder: Path) -> list[Path]:
    """What a folder holds, by name, without what systems and tools hide there (`.ipynb_checkpoints`, `._cat.png`).

    Raises:
        UsageError: a folder that cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX")
    except OSError as error:
        raise UsageError(f"cannot read the folder {folder}", facts={"reason": error.strerror}) from error


def image_paths(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images of a folder by name, by suffix or content, and its other visible files; raises as `visible`."""
    files = [path for path in visible(folder) if path.is_file()]
    images = [path for path in files if path.suffix.lower() in SUFFIXES or _beginning(path).startswith(_BEGINNINGS)]
    return images, [path for path in files if path not in set(images)]


def is_archive(path: Path) -> bool:
    """Whether this is an `.npz`, by its name or content."""
    return path.suffix == ".npz" or (
        path.is_file() and path.suffix.lower() not in SUFFIXES and _beginning(path)[:4] == _ZIP
    )


def _beginning(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(8)
    except OSError:  # whoever reads it says so
        return b""


def read_image(path: Path) -> Image:
    """One image file as [H,W,3] uint8 RGB; raises UsageError where it cannot be read.

    Upright by its EXIF orientation, as a person sees it and label maps are drawn; torchvision's ImageFolder
    takes the pixels as they are stored.
    """
    with _opened(path) as file:
        if file.mode.startswith(("I", "F")):
            raise UsageError(f"{path} has more than 8 bits a pixel ({file.mode}), which networks here do not take")
        return rgb_pixels(file)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of `read_image`'s pixels, from the file's header; raises UsageError where it cannot be read."""
    with _opened(path) as file:
        return upright_size(file)


@contextmanager
def _opened(path: Path) -> Iterator[Pillow.Image]:
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as file:
            yield file
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise UsageError(f"cannot read image {path}", facts={"reason": error}) from error


def rgb_pixels(file: Pillow.Image) -> Image:
    """[H,W,3] uint8, upright: cameras tell how they were held (EXIF) instead of turning the pixels."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    turn = turns.get(_orientation(file))
    image = file.convert("RGB")
    return np.asarray(image if turn is None else image.transpose(turn))


def upright_size(file: Pillow.Image) -> tuple[int, int]:
    """Height and width of `rgb_pixels`, without unpacking them."""
    width, height = file.size
    return (width, height) if _orientation(file) in (5, 6, 7, 8) else (height, width)


def _orientation(file: Pillow.Image) -> int:
    """1 to 8, as EXIF numbers them; 1 is upright."""
    from PIL import Image as Pillow
    from PIL.ExifTags import Base

    # The base class's: a PNG's own would unpack the pixels for it.
    orientation = Pillow.Image.getexif(file).get(Base.Orientation, 1)
    return orientation if isinstance(orientation, int) else 1
