"""What a slice must have to give Hounsfield units, and what slices must share to make one volume.

The rules follow DICOM PS3.3 (CT Image, C.8.2.1; Enhanced CT Image, C.8.15.2; Image Plane, C.7.6.2). Whatever would make
the volume wrong is refused with a sentence; nothing is guessed.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import numpy as np

from quietct.ct.dicom.header import UNCOMPRESSED, UNDEFINED_LENGTH, clean_text
from quietct.ct.dicom.images import MALFORMED, Image
from quietct.errors import UserError

logger = logging.getLogger(__name__)

LARGEST_SIDE = 16384  # pixels; the largest CT known to us has 4096
# What decides about the values of a volume, and therefore must not be there in a form that nobody can read.
VITAL = (
    "BitsAllocated", "BitsStored", "FrameType", "HighBit", "ImageType", "ModalityLUTSequence", "NumberOfFrames",
    "PhotometricInterpretation", "PixelPaddingRangeLimit", "PixelPaddingValue", "PixelRepresentation",
    "RescaleIntercept", "RescaleSlope", "RescaleType", "SamplesPerPixel",
)  # fmt: skip
# Keyword -> (how to name it to a person, tolerance for numbers): what all slices of a volume must share.
SHARED = {
    "Rows": ("number of rows", 0.0),
    "Columns": ("number of columns", 0.0),
    "PixelSpacing": ("pixel spacing", 1e-4),
    "ImageOrientationPatient": ("orientation", 1e-3),
    "ConvolutionKernel": ("reconstruction kernel", 0.0),
}
SAME_PLACE_MM = 0.01
EVEN_MM, EVEN_PART = 0.02, 0.02  # positions are written with two or more decimals
TILT_DEG = 0.1


def check_image(image: Image) -> None:
    """Refuse a slice that cannot give Hounsfield units or a place.

    Raises
    ------
    UserError
        With the file and what is wrong with it.
    """
    for keyword in VITAL:
        if image.values.get(keyword) is MALFORMED:
            raise UserError(f"{image.name} has a {keyword} that cannot be read. Fetch it again.")
    _ = image.position
    if image.numbers("PixelSpacing", 2).min() <= 0:
        raise UserError(f"{image.name} has no valid PixelSpacing, so the size of its pixels is not known.")
    _check_scale(image)
    _check_pixels(image)


def _check_scale(image: Image) -> None:
    name = image.name
    slope, intercept = image.number("RescaleSlope"), image.number("RescaleIntercept")
    table: Any = image.values.get("ModalityLUTSequence")
    if table is not None:
        unit = clean_text(str(table.get("ModalityLUTType") or ""))
        if unit != "HU":
            raise UserError(f"{name} has a Modality LUT Sequence that gives {unit or 'no unit'}, not Hounsfield units.")
        if slope is not None or intercept is not None:
            raise UserError(f"{name} has both a Modality LUT Sequence and a rescale slope; its scale is not clear.")
        return
    if not slope or intercept is None:
        raise UserError(f"{name} has no rescale slope and intercept, so its Hounsfield units are not known.")
    unit = image.text("RescaleType")
    # Some scanners say "unspecified" in classic images that are in HU; in derived frames it means what it says.
    unspecified = unit == "US" and not (image.multi_frame and image.kind[:1] != ("ORIGINAL",))
    if unit not in (None, "HU") and not unspecified:
        raise UserError(f"{name} is in units of {unit}, not in Hounsfield units.")


def _check_pixels(image: Image) -> None:
    name = image.name
    rows, columns, frames = (image.whole(keyword) or 0 for keyword in ("Rows", "Columns", "NumberOfFrames"))
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
        raise UserError(f"{name} says it has {rows} x {columns} pixels, which no CT slice has. Fetch it again.")
    if frames > 1 and not image.multi_frame:
        raise UserError(f"{name} holds several frames; a classic CT image must hold one.")
    photometric = image.text("PhotometricInterpretation")
    if photometric != "MONOCHROME2" or image.whole("SamplesPerPixel") not in (None, 1):
        raise UserError(f"{name} is a {photometric or 'nameless'} image; a CT slice must be MONOCHROME2.")
    allocated, bits, high = (image.whole(keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated != 16:
        raise UserError(f"{name} has {allocated} bits a pixel; a CT slice must have 16.")
    if bits is None or not 1 <= bits <= 16 or high not in (None, bits - 1):
        raise UserError(f"{name} says that {bits} bits up to bit {high} are used; in CT the lowest ones must be.")
    if image.whole("PixelRepresentation") not in (0, 1):
        raise UserError(f"{name} does not say whether its values are signed (PixelRepresentation).")
    if image.start is None:
        raise UserError(f"{name} has no pixel data; it was probably cut off. Fetch it again.")
    if not image.syntax.is_transfer_syntax:
        raise UserError(f"{name} is encoded in a way that is no transfer syntax of DICOM. Export it in a usual one.")
    if image.syntax not in UNCOMPRESSED:
        if image.cut:
            raise UserError(f"The pixels of {name} are incomplete. Fetch it again.")
        return
    expected = rows * columns * 2 * max(frames, 1)
    there = min(image.length, image.size - image.start)
    if image.length == UNDEFINED_LENGTH or there < expected:
        raise UserError(f"The pixels of {name} are incomplete: {there} of {expected} bytes. Fetch it again.")
    if there >= expected + 2 * columns:
        raise UserError(
            f"{name} has {there} bytes of pixels, but {rows} x {columns} of them need {expected}. Fetch it again."
        )


def check_same(series: list[Image]) -> None:
    """Refuse slices of several stacks: another size, spacing, orientation or kernel.

    Raises
    ------
    UserError
        With the first two files that differ, in what, and how many slices go with each.
    """
    first = series[0]
    for keyword, (words, tolerance) in SHARED.items():
        value = first.values.get(keyword)
        for image in series:
            if not _same(value, image.values.get(keyword), tolerance):
                like = sum(_same(value, other.values.get(keyword), tolerance) for other in series)
                raise UserError(
                    f"The slices do not belong together: the {words} is {_shown(value)} in {like} of them, such as "
                    f"{first.name}, and another in {len(series) - like}, such as {_shown(image.values.get(keyword))} "
                    f"in {image.name}. Keep the files of one reconstruction only."
                )


def _same(a: Any, b: Any, tolerance: float) -> bool:
    if a != b and tolerance and isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and np.allclose(a, b, rtol=0, atol=tolerance)
    return bool(a == b)


def _shown(value: Any) -> str:
    if value is MALFORMED:
        return "unreadable"
    return clean_text(value if isinstance(value, (str, tuple)) else str(value)) or "empty"


def check_positions(series: list[Image], gaps: bool = False) -> None:
    """Refuse a series with two slices at one place or with missing ones; warn of uneven steps and of a tilted gantry.

    Parameters
    ----------
    series : list of Image
        In the order of position.
    gaps : bool
        Accept missing slices with a warning.

    Raises
    ------
    UserError
        With the files beside the fault.
    """
    at = np.array([image.position for image in series])
    steps = np.diff(at)
    if not len(steps):
        return
    if steps.min() < SAME_PLACE_MM:
        k = int(np.argmin(steps))
        raise UserError(
            f"Two slices lie at the same position, {at[k]:.2f} mm: {series[k].name} and {series[k + 1].name}. "
            + (_acquisitions(series) or "Keep the files of one acquisition only.")
        )
    usual = float(np.percentile(steps, 50, method="lower"))  # of two steps the shorter one: the other has a gap
    if steps.max() > 1.5 * usual:
        k = int(np.argmax(steps))
        missing = (
            f"Slices are missing between {at[k]:.2f} mm ({series[k].name}) and {at[k + 1]:.2f} mm "
            f"({series[k + 1].name}): the usual step is {usual:.2f} mm."
        )
        if not gaps:
            raise UserError(f"{missing} {_acquisitions(series) or 'Fetch the series again.'}")
        logger.warning("%s", missing)
    elif np.abs(steps - usual).max() > max(EVEN_MM, EVEN_PART * usual):
        logger.warning("The slices are not evenly spaced: steps of %.3f to %.3f mm.", steps.min(), steps.max())
    tilt = gantry_tilt(series)
    if tilt is not None and tilt > TILT_DEG:
        logger.warning(
            "The stack of slices is sheared by %.2f degrees (tilted gantry): each slice is right, "
            "but columns through the slices are not perpendicular to them.",
            tilt,
        )


def _acquisitions(series: list[Image]) -> str | None:
    """Say how to choose, if the series is of a few acquisitions."""
    counts = Counter(image.acquisition for image in series if image.acquisition is not None)
    if not 1 < len(counts) <= min(10, len(series) // 2):
        return None
    listed = ", ".join(f"{number} ({count} slices)" for number, count in sorted(counts.items()))
    return f"The series has the acquisitions {listed}: name one in the column `acquisition_number`."


def gantry_tilt(series: list[Image]) -> float | None:
    """Angle (degrees) between the direction from slice to slice and the normal of the slices; None for one slice."""
    way = series[-1].numbers("ImagePositionPatient", 3) - series[0].numbers("ImagePositionPatient", 3)
    along = abs(float(way @ series[0].normal))
    if len(series) < 2 or not along:
        return None
    across = float(np.linalg.norm(way - (way @ series[0].normal) * series[0].normal))
    return round(float(np.degrees(np.arctan2(across, along))), 2)
