"""Holds the preprocessing of images against torchvision's own, to the pixel, on images of random sizes.

    python -m benchmarks.preprocessing_parity [--images 2000]

Needs torchvision; its exit code is 1 where an image differs.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from PIL import Image

from adroit.models.data.preprocessing import IMAGENET


def main() -> None:
    """Compares, and prints the sizes that differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    count = parser.parse_args().images
    try:
        import torchvision
        from torchvision.transforms import functional
    except ImportError:
        sys.exit("skipped: torchvision is not installed")
    random = np.random.default_rng(0)
    different = []
    for _ in range(count):
        height, width = (int(side) for side in random.integers(40, 700, 2))
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        resized = functional.resize(Image.fromarray(pixels), 256)
        cropped = functional.center_crop(resized, [224, 224])
        theirs = functional.normalize(functional.to_tensor(cropped), list(IMAGENET.mean), list(IMAGENET.std)).numpy()
        ours = IMAGENET.values(IMAGENET.geometry(pixels)[None])[0]
        if not (np.asarray(cropped) == IMAGENET.geometry(pixels)).all() or np.abs(ours - theirs).max() > 1e-6:
            different.append((height, width))
    print(f"torchvision {torchvision.__version__}: {len(different)} of {count} images differ", *different[:10])
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
