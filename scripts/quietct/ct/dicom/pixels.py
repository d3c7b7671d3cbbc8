"""Turn the stored values of a slice into Hounsfield units."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut, get_decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from quietct.ct.dicom.decoding import DecodingError, DecodingProcess
from quietct.ct.dicom.header import UNCOMPRESSED, BoundedFile, bounded, quiet_pydicom
from quietct.ct.dicom.images import Image
from quietct.errors import UserError

PADDING_HU = -1024


@contextmanager
def opened(image: Image) -> Iterator[BoundedFile]:
    """Open the file of a slice, inflated where it is deflated."""
    try:
        with open(image.file, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            deflated = image.syntax == DeflatedExplicitVRLittleEndian
            yield bounded(file, size, image.file) if deflated else BoundedFile(file, size)
    except OSError as error:
        if error.filename is None:  # not of this file
            raise
        raise UserError(f"{image.file} cannot be read ({error.strerror}).") from None


def read_slice(image: Image, file: BoundedFile, process: DecodingProcess) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode the pixels of one slice.

    Parameters
    ----------
    image : Image
        A slice that passed `quietct.ct.dicom.checks.check_image`.
    file : BoundedFile
        Its file, from `opened`.
    process : DecodingProcess
        Decodes compressed pixels.

    Returns
    -------
    hu : ndarray of int16, int32 or float64 (rows, columns)
        Stored values through the slice's own scale, -1024 where the scanner padded; whole numbers stay whole.
    padding : ndarray of bool (rows, columns), or None
        Where it padded; None if the file knows no padding.

    Raises
    ------
    UserError
        If the pixels cannot be decoded.
    """
    return to_hounsfield(image, read_stored(image, file, process))


def to_hounsfield(image: Image, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Do the second half of `read_slice`: give HU and padding of what `read_stored` gave."""
    values = used_bits(image, stored)
    padding = padded(image, stored)
    if padding is not None and values is not stored:
        padding |= padded(image, values)
    try:
        hu = _hounsfield(image, values)
    except Exception:  # only a table of the file can fail
        raise UserError(f"{image.name} has a damaged Modality LUT Sequence. Fetch it again.") from None
    if padding is not None:
        np.copyto(hu, PADDING_HU, where=padding)
    return hu, padding


def read_stored(image: Image, file: BoundedFile, process: DecodingProcess) -> np.ndarray:
    """Do the first half of `read_slice`: decode all 16 bits of each pixel, as they are in the file."""
    options: dict[str, Any] = {
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "number_of_frames": image.whole("NumberOfFrames") or 1,
        "rows": image.whole("Rows"),
        "columns": image.whole("Columns"),
        "bits_allocated": image.whole("BitsAllocated"),
        "bits_stored": image.whole("BitsStored"),
        "pixel_representation": image.whole("PixelRepresentation"),
        "pixel_keyword": "PixelData",
        "pixel_vr": "OW",
        "view_only": True,
        "correct_unused_bits": False,  # done here, after a look for padding
    }
    if image.offsets:
        options["extended_offsets"] = image.offsets
    if image.syntax not in UNCOMPRESSED:
        if not _has_decoder(image.syntax):
            raise UserError(
                f"The pixels of {image.name} ({image.syntax.name}) cannot be decoded by any installed package. "
                "Export the series uncompressed, or see which package pydicom wants for it."
            )
        try:
            return process.decode(image.file, image.start or 0, image.syntax, image.frame, options)
        except DecodingError:
            raise UserError(
                f"The pixels of {image.name} ({image.syntax.name}) cannot be decoded; they are damaged. "
                "Fetch the file again, or export the series uncompressed."
            ) from None
    try:
        with quiet_pydicom():
            file.seek(image.start or 0)
            array, _ = get_decoder(image.syntax).as_array(file, index=image.frame, raw=True, **options)  # type: ignore[arg-type]
            return array
    except Exception:  # its text may quote what it found
        raise UserError(f"The pixels of {image.name} are damaged. Fetch it again.") from None


def _has_decoder(syntax: UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:  # pydicom knows none, as for films
        return False


def stored_range(image: Image) -> tuple[int, int]:
    """Give the lowest and the highest value that a pixel can store."""
    bits = image.whole("BitsStored") or 16
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if image.whole("PixelRepresentation") else (0, (1 << bits) - 1)


def used_bits(image: Image, stored: np.ndarray) -> np.ndarray:
    """Drop what sits in the bits above the stored ones, for example overlays (PS3.5 8.1.1)."""
    bits = image.whole("BitsStored") or 16
    low, high = stored_range(image)
    if bits == 16 or (stored.min() >= low and stored.max() <= high):
        return stored
    if low == 0:
        return stored & high
    spare = 32 - bits  # shifting keeps the sign
    return (stored.astype(np.int32) << spare) >> spare


def padded(image: Image, stored: np.ndarray) -> np.ndarray | None:
    """Where the scanner padded (PS3.3 C.7.5.1.1.2); None if the file knows no padding."""
    limits = padding_range(image)
    if limits is None:
        return None
    low, high = limits
    return stored == low if low == high else (stored >= low) & (stored <= high)


def padding_range(image: Image) -> tuple[int, int] | None:
    """Give the stored values that stand for padding, lowest and highest; None if the file knows no padding."""
    value, limit = image.whole("PixelPaddingValue"), image.whole("PixelPaddingRangeLimit")
    if value is None:
        return None

    def as_stored(number: int) -> int:
        # The value representation of the attribute is often wrong: 63536 may stand for -2000.
        bits = number & 0xFFFF
        return bits - 0x10000 if image.whole("PixelRepresentation") and bits & 0x8000 else bits

    low, high = sorted((as_stored(value), as_stored(value if limit is None else limit)))
    return low, high


def _hounsfield(image: Image, stored: np.ndarray) -> np.ndarray:
    table = image.values.get("ModalityLUTSequence")
    if table is not None:
        dataset = Dataset()
        dataset.ModalityLUTSequence = [table]
        dataset.set_original_encoding(False, image.syntax != ExplicitVRBigEndian)
        return apply_modality_lut(stored.astype(np.int32), dataset).astype(np.int32)
    slope, intercept = image.number("RescaleSlope") or 1.0, image.number("RescaleIntercept") or 0.0
    if slope.is_integer() and intercept.is_integer() and abs(slope) * 65536 + abs(intercept) < 2**31:
        ends = [float(end) * slope + intercept for end in (stored.min(), stored.max())]
        # Where nothing is out of range in the end, 16 bits may overflow on the way.
        narrow = all(-32768 <= value <= 32767 for value in (*ends, slope, intercept))
        hu: np.ndarray = stored.astype(np.int16 if narrow else np.int32)
        if slope != 1:
            hu *= int(slope)
        hu += int(intercept)
        return hu
    scaled: np.ndarray = stored * slope
    scaled += intercept
    return scaled
