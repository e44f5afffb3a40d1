"""Reading DATA, as every command takes it.

DATA is a folder of images (flat, or one folder per class), one image, or an `.npz` with `images`
(uint8, N x H x W x 3) and optionally `labels` (N integers). `FILE.npz:train` reads `train_images`
and `train_labels` of a file with several parts. A folder of the two folders `images` and `labels`
holds images and label maps of the same names (PNG, one byte a pixel), as CamVid does.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.errors import AdroitWarning, UsageError
from adroit.models.data.class_folders import class_order, match_classes
from adroit.models.data.image_files import SUFFIXES, image_paths, image_size, is_archive, read_image, visible
from adroit.models.data.preprocessing import Image, Preprocessing
from adroit.text import shortened


@dataclass(frozen=True)
class ImageSet:
    """Images read one at a time.

    Attributes:
        names: one a image, unique.
        load: index to [H,W,3] uint8; raises UsageError for an unreadable image.
        labels: [N] int64 class indices, or None.
        class_names: names of the label values where the data has them.
        maps: index to [H,W] uint8 class indices of the pixels, where the data has label maps.
        sizes: index to height and width of `load`'s image without its pixels, where that is possible.
    """

    names: Sequence[str]
    load: Callable[[int], Image]
    labels: NDArray[np.int64] | None = None
    class_names: Sequence[str] | None = None
    maps: Callable[[int], NDArray[np.uint8]] | None = None
    sizes: Callable[[int], tuple[int, int]] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of the image in pixels; a file's pixels are not unpacked."""
        if self.sizes is not None:
            return self.sizes(index)
        height, width, _ = self.load(index).shape
        return height, width

    def first(self, count: int | None) -> ImageSet:
        """The first `count` images (all if None)."""
        labels = None if self.labels is None else self.labels[:count]
        return ImageSet(self.names[:count], self.load, labels, self.class_names, self.maps, self.sizes)

    def batches(self, preprocessing: Preprocessing, size: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Runs of at most `size` consecutive images of one shape, as [n,C,H,W] float32, with their range."""
        pending: list[Image] = []
        start = 0
        for index in range(len(self)):
            image = preprocessing.geometry(self.load(index))
            if pending and (len(pending) == size or pending[0].shape != image.shape):
                yield slice(start, index), preprocessing.values(np.stack(pending))
                pending, start = [], index
            pending.append(image)
        if pending:
            yield slice(start, len(self)), preprocessing.values(np.stack(pending))


def read_images(
    data: str | Path, class_names: Sequence[str] | None = None, classes: int | None = None, grouped: bool = False
) -> ImageSet:
    """Opens DATA (see the module's text); a AdroitWarning names what is left out of a folder.

    Args:
        data: path, or `FILE.npz:part`.
        class_names: the network's labels, which name the class folders as match_classes says. Without labels and
            `classes`, the folders are the classes, by number where all are numbers, else by alphabet.
        classes: how many classes the network has.
        grouped: folders are no classes: the images have no labels, whatever the folders' names.

    Raises:
        UsageError: nothing there, no image in it, images beside folders of images, folders that are no class of
            the network, or a file that is not what DATA is.
    """
    text = str(data)
    archive, _, part = text.rpartition(":") if ".npz:" in text else (text, "", "")
    path = Path(archive)
    if not os.path.exists(path):  # False, not an error, for a name that no file can have
        raise UsageError(
            f"there is no such data: {path}", hint="DATA is a folder of images, one image, or an .npz file"
        )
    if is_archive(path):
        return _read_archive(path, f"{part}_" if part else "")
    if (path / "images").is_dir() and (path / "labels").is_dir():
        return _read_labeled(path)
    if path.is_dir():
        return _ungrouped(path) if grouped else _read_folder(path, class_names, classes)
    return _image_files([path.name], [path])


def image_files(paths: Sequence[Path]) -> ImageSet:
    """Single images under their paths' names; raises UsageError for one that is not there."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UsageError(f"there is no such image: {missing[0]}")
    return _image_files([str(path) for path in paths], paths)


def _image_files(names: Sequence[str], files: Sequence[Path], **labels: Any) -> ImageSet:
    return ImageSet(names, lambda i: read_image(files[i]), sizes=lambda i: image_size(files[i]), **labels)


def _read_labeled(path: Path) -> ImageSet:
    from adroit.models.data.segmentation import read_label_map

    plain = _ungrouped(path / "images")
    maps = [path / "labels" / f"{Path(name).stem}.png" for name in plain.names]
    missing = [p for p in maps if not p.is_file()]
    if missing:
        raise UsageError(f"{len(missing)} images of {path} have no label map", facts={"first": missing[0]})
    return replace(plain, maps=lambda i: read_label_map(maps[i]))


def _read_folder(path: Path, class_names: Sequence[str] | None, classes: int | None) -> ImageSet:
    files = _image_paths(path)
    folders = {p.name: _image_paths(p) for p in visible(path) if p.is_dir()}
    holding = {name: found for name, found in folders.items() if found}
    if files and holding:
        raise UsageError(
            f"{path} holds {len(files)} images beside folders of images ({shortened(sorted(holding))})",
            hint="give one of those folders, or move the loose images into them",
        )
    if not files and not holding:
        raise UsageError(f"no image in {path}", facts={"read": ", ".join(sorted(SUFFIXES))})
    if empty := sorted(folders.keys() - holding.keys()):
        _say(f"{path}: folders without an image are left out: {shortened(empty)}")
    if files:
        return _image_files([p.name for p in files], files)
    order = class_order(list(holding))
    paths = [file for name in order for file in holding[name]]
    labels: Sequence[str] = class_names or ([] if classes is not None else order)
    indices, notes = match_classes(order, labels, classes, str(path))
    for note in notes:
        _say(note)
    numbers = np.array([indices[file.parent.name] for file in paths], np.int64)
    names = [f"{file.parent.name}/{file.name}" for file in paths]
    return _image_files(names, paths, labels=numbers, class_names=labels or None)


def _ungrouped(path: Path) -> ImageSet:
    return replace(_read_folder(path, None, None), labels=None, class_names=None)


def _say(text: str) -> None:
    warnings.warn(text, AdroitWarning, stacklevel=2)


def _image_paths(folder: Path) -> list[Path]:
    """The images of a folder by name, as `image_paths`; what else it holds is said."""
    paths, others = image_paths(folder)
    if paths and others:
        _say(f"{folder}: files that are no images are left out: {shortened([p.name for p in others])}")
    return paths


def _read_archive(path: Path, prefix: str) -> ImageSet:
    try:
        with np.load(path, allow_pickle=False) as archive:
            available = ", ".join(archive.files)
            images = archive.get(f"{prefix}images")
            labels = archive.get(f"{prefix}labels")
    except Exception as error:  # a damaged archive makes NumPy and zlib raise almost anything
        raise UsageError(f"cannot read {path}", facts={"reason": error}) from error
    if not isinstance(images, np.ndarray):
        raise UsageError(
            f"{path} has no array named {prefix}images",
            facts={"arrays": available},
            hint="name a part of the file as FILE.npz:PART, for PART_images and PART_labels",
        )
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or len(images) == 0:
        raise UsageError(
            f"{path}: {prefix}images must be uint8 [N,H,W,3] with N >= 1, and is {images.dtype} {list(images.shape)}"
        )
    if labels is not None and not isinstance(labels, np.ndarray):
        raise UsageError(f"{path}: {prefix}labels is no array")
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise UsageError(
            f"{path}: {prefix}labels must be {len(images)} integers, and is {labels.dtype} {list(labels.shape)}"
        )
    return ImageSet(
        [str(i) for i in range(len(images))], lambda i: images[i], None if labels is None else labels.astype(np.int64)
    )
