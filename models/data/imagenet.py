"""ImageNet's folders: train and val, one folder of images a class."""

from __future__ import annotations

from pathlib import Path

from adroit.errors import UsageError
from adroit.models.data.images import ImageSet, read_images


def read_imagenet(folder: Path, split: str) -> ImageSet:
    """<split>/<class>/*.JPEG; a label is the class folder's place among all of train's, by name.

    Raises:
        UsageError: no such split, no image in it, or a class that train does not have.
    """
    for part in ("train", split):
        if not (folder / part).is_dir():
            raise UsageError(f"there is no ImageNet split at {folder / part}", hint="give the folder of train and val")
    classes = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    strange = sorted({path.name for path in (folder / split).iterdir() if path.is_dir()} - set(classes))
    if strange:
        raise UsageError(f"{folder / split} has classes that train lacks: {', '.join(strange)}")
    images = read_images(folder / split, classes)
    if images.labels is None:
        raise UsageError(f"{folder / split} holds images outside class folders", facts={"first": images.names[0]})
    return images
