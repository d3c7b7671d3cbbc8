"""Turn the stored values of a slice into Hounsfield units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

from quietct.errors import UserError

PADDING_HU = -1024.0


def read_slice(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Decode the pixels of one slice.

    Parameters
    ----------
    path : path
        A CT image whose header passed the checks of `read_series`.

    Returns
    -------
    hu : ndarray of float32 (rows, columns)
        Stored values times slope plus intercept, -1024 where the scanner padded.
    padding : ndarray of bool (rows, columns)
        Where it padded.

    Raises
    ------
    UserError
        If there are no pixels, too few, or they cannot be decoded.
    """
    dataset = dcmread(path)
    if "PixelData" not in dataset:
        raise UserError(f"{path} has no pixel data; it was probably cut off. Fetch it again.")
    try:
        stored = dataset.pixel_array.astype(np.int32)
    except Exception as error:  # each decoder raises its own kinds
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_compressed:
            raise UserError(
                f"The pixels of {path} ({syntax.name}) cannot be decoded: {_first_line(error)} "
                "Install a decoder (pylibjpeg, python-gdcm) or export the series uncompressed."
            ) from error
        raise UserError(f"The pixels of {path} are incomplete: {_first_line(error)} Fetch it again.") from error
    padding = _padding(dataset, stored)
    spare = 32 - int(dataset.BitsStored)  # overlays may sit in the bits above; shifting drops them and keeps the sign
    if dataset.PixelRepresentation:
        stored = (stored << spare) >> spare
    else:
        stored &= (1 << int(dataset.BitsStored)) - 1
    hu = stored.astype(np.float32) * np.float32(dataset.RescaleSlope) + np.float32(dataset.RescaleIntercept)
    hu[padding] = PADDING_HU
    return hu, padding


def _padding(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    """Where the scanner padded (PS3.3 C.7.5.1.1.2): a stored value, or a range of them."""
    if dataset.get("PixelPaddingValue") is None:
        return np.zeros(stored.shape, bool)

    def as_stored(value: Any) -> int:
        # The value representation of the attribute is often wrong: 63536 may stand for -2000.
        bits = int(value) & 0xFFFF
        return bits - 0x10000 if dataset.PixelRepresentation and bits & 0x8000 else bits

    value = as_stored(dataset.PixelPaddingValue)
    limit = dataset.get("PixelPaddingRangeLimit")
    other = value if limit is None else as_stored(limit)
    return (stored >= min(value, other)) & (stored <= max(value, other))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."
