"""What may be chosen of quantization. Imports nothing, so that the command line may name the choices."""

from __future__ import annotations

from enum import StrEnum


class Method(StrEnum):
    """How a tensor's range follows from its values: the least mean squared error, or a percentile."""

    mse = "mse"
    percentile = "percentile"
