"""The protocol's datatypes, and the dtypes of NumPy that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np

# Little-endian, as tensors are on the wire.
_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def dtype_from_datatype(datatype: str) -> np.dtype[Any]:
    """Return the dtype of a datatype; raises KeyError for BYTES, BF16 and unknown ones, which no model here takes."""
    return _DTYPES[datatype]


def datatype_from_dtype(dtype: np.dtype[Any] | str) -> str:
    """Return the protocol's name of a dtype that a runtime may give."""
    return _NAMES[np.dtype(dtype).newbyteorder("<")]
