"""Images with a class for every pixel, in the folder layouts of the usual data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adroit.errors import UsageError
from adroit.models.data.image_files import SUFFIXES, image_size, read_image
from adroit.models.data.preprocessing import Image

LabelMap = NDArray[np.uint8]

CAMVID_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
CITYSCAPES_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


@dataclass(frozen=True)
class SegmentationSet:
    """Images and label maps, read one at a time.

    Attributes:
        images, maps: the files, in the same order.
        class_names: names of the values 0, 1, 2 and so on.
        ignored: the value of pixels that count for nothing.
    """

    images: Sequence[Path]
    maps: Sequence[Path]
    class_names: Sequence[str]
    ignored: int

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> tuple[Image, LabelMap]:
        """[H,W,3] uint8 RGB and [H,W] uint8.

        Raises:
            UsageError: an unreadable file, maps of another size, or values that are no class.
        """
        image, labels = read_image(self.images[index]), read_label_map(self.maps[index])
        if labels.shape != image.shape[:2]:
            raise UsageError(
                f"{self.maps[index]} is {labels.shape[0]} x {labels.shape[1]} pixels,"
                f" its image {image.shape[0]} x {image.shape[1]}"
            )
        wrong = sorted(set(np.unique(labels).tolist()) - {*range(len(self.class_names)), self.ignored})
        if wrong:
            raise UsageError(
                f"{self.maps[index]} has values that are no class: {', '.join(map(str, wrong))}",
                facts={"classes": f"0 to {len(self.class_names) - 1}", "ignored": self.ignored},
            )
        return image, labels

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of the image in pixels, without unpacking them."""
        return image_size(self.images[index])

    def first(self, count: int | None) -> SegmentationSet:
        """The first `count` images (all if None)."""
        return SegmentationSet(self.images[:count], self.maps[:count], self.class_names, self.ignored)


def read_label_map(path: Path) -> LabelMap:
    """A one-byte or palette PNG as [H,W] uint8; raises UsageError for other images and unreadable files."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as file:
            mode, values = file.mode, np.asarray(file)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise UsageError(f"cannot read label map {path}", facts={"reason": error}) from error
    if mode not in ("L", "P"):
        raise UsageError(f"{path} is no label map: its pixels are {mode}, expected one byte each (L or P)")
    return np.asarray(values, np.uint8)


def read_camvid(folder: Path, split: str) -> SegmentationSet:
    """{train,val}/{images,labels}: 11 classes, 11 is void.

    Raises:
        UsageError: no such split, no image in it, or an image without its map.
    """
    images = _files(folder / split / "images", "CamVid")
    maps = [folder / split / "labels" / f"{image.stem}.png" for image in images]
    return _paired(images, maps, CAMVID_CLASSES, 11)


def read_cityscapes(folder: Path, split: str) -> SegmentationSet:
    """leftImg8bit/<split>/<city>/*_leftImg8bit.png with gtFine/<split>/<city>/*_gtFine_labelTrainIds.png.

    19 classes, 255 is ignored. Raises as `read_camvid`.
    """
    top, ending = folder / "leftImg8bit" / split, "_leftImg8bit"
    images = [image for city in _folders(top, "Cityscapes") for image in _files(city, "Cityscapes")]
    maps = [
        folder / "gtFine" / split / image.parent.name / f"{image.stem.removesuffix(ending)}_gtFine_labelTrainIds.png"
        for image in images
    ]
    return _paired(images, maps, CITYSCAPES_CLASSES, 255)


def read_voc(folder: Path, split: str) -> SegmentationSet:
    """JPEGImages and SegmentationClass, by the names in ImageSets/Segmentation/<split>.txt.

    21 classes, 255 is ignored. Raises as `read_camvid`.
    """
    listing = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    try:
        names = listing.read_text().split()
    except OSError as error:
        raise UsageError(f"cannot read PASCAL VOC's list {listing}", facts={"reason": error}) from error
    images = [folder / "JPEGImages" / f"{name}.jpg" for name in names]
    missing = [image for image in images if not image.is_file()]
    if missing or not images:
        raise UsageError(f"{listing} names {missing[0].name if missing else 'no image'}", facts={"folder": folder})
    return _paired(images, [folder / "SegmentationClass" / f"{name}.png" for name in names], VOC_CLASSES, 255)


READERS: dict[str, Callable[[Path, str], SegmentationSet]] = {
    "camvid": read_camvid,
    "cityscapes": read_cityscapes,
    "voc": read_voc,
}


def _folders(folder: Path, data_set: str) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"there is no {data_set} split at {folder}", hint="give the data set's top folder")
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _files(folder: Path, data_set: str) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"there is no {data_set} split at {folder}", hint="give the data set's top folder")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _paired(images: Sequence[Path], maps: Sequence[Path], classes: Sequence[str], ignored: int) -> SegmentationSet:
    if not images:
        raise UsageError("the split holds no image")
    missing = [path for path in maps if not path.is_file()]
    if missing:
        raise UsageError(f"{len(missing)} of {len(maps)} images have no label map", facts={"first": missing[0]})
    return SegmentationSet(list(images), list(maps), classes, ignored)
