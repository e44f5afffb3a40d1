"""Image files of clients, decoded within limits, and PNG files of class maps."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adroit.deploy.serve.engine.inference import input_size
from adroit.deploy.serve.engine.model import Model
from adroit.deploy.serve.options import Limits
from adroit.deploy.serve.protocol.refusal import Refusal, invalid
from adroit.deploy.serve.protocol.tensors import RawBytes
from adroit.models.data.image_files import rgb_pixels, upright_size
from adroit.models.data.preprocessing import Image

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")


def decode_image(model: Model, content: RawBytes, limits: Limits) -> Image:
    """Decode an image to uint8 [H,W,3]; its size is checked before its pixels are unpacked.

    Raises:
        Refusal: content that is no image, of another format, damaged, with more than 8 bits a value, or too large.
    """
    from PIL import Image as Pillow

    try:
        with Pillow.open(io.BytesIO(content), formats=_FORMATS) as file:
            if file.mode.startswith(("I", "F")):
                raise invalid("the image has more than 8 bits a value")
            input_size(model.deployment.preprocessing, upright_size(file), limits)
            return rgb_pixels(file)
    except Refusal:
        raise
    except Exception as error:  # Pillow raises almost anything for damaged files
        reason = re.sub(r"<_io\S* object at \w+>", "the body", str(error))
        raise invalid(f"not a readable {', '.join(_FORMATS)} image: {reason}") from error


def class_map(model: Model, logits: NDArray[Any], image: Image) -> NDArray[np.integer]:
    """Return the class of every pixel, [H,W], of logits [1,classes,H,W], without the padding that the network needs.

    Of uint8, or of int64 where there are more than 256 classes.
    """
    preprocessing = model.deployment.preprocessing
    size = preprocessing.geometry_size((image.shape[0], image.shape[1]))
    return preprocessing.unpadded(logits[0].argmax(0).astype(np.uint8 if logits.shape[1] <= 256 else np.int64), size)
