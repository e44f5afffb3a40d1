"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8 pixels, in the package itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adroit.errors import EnvironmentFault
from adroit.models.data.images import ImageSet
from adroit.models.data.preprocessing import Image


def read_digits() -> tuple[ImageSet, ImageSet]:
    """Four fifths for training, every fifth image held out; [8,8,3] uint8, labels 0 to 9.

    Raises:
        EnvironmentFault: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise EnvironmentFault("scikit-learn is not installed", hint="pip install 'adroit-deploy[train]'") from error
    bunch = load_digits()
    gray = np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8)  # pixels count 0 to 16
    images: Image = np.repeat(gray[..., None], 3, axis=3)
    labels: NDArray[np.int64] = bunch.target.astype(np.int64)
    held_out = np.arange(len(images)) % 5 == 4
    return _set(images[~held_out], labels[~held_out]), _set(images[held_out], labels[held_out])


def _set(images: Image, labels: NDArray[np.int64]) -> ImageSet:
    names = [str(i) for i in range(len(images))]
    return ImageSet(names, lambda i: images[i], labels, [str(i) for i in range(10)])


def write_archive(path: str) -> None:
    """Writes the held-out digits as DATA (`.npz` with images and labels)."""
    _, held_out = read_digits()
    images = np.stack([held_out.load(i) for i in range(len(held_out))])
    np.savez(path, allow_pickle=False, images=images, labels=np.asarray(held_out.labels))


if __name__ == "__main__":
    import sys

    write_archive(sys.argv[1])
