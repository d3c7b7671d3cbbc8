"""Find the images of one CT series, order them by position, and check that they make one volume.

The rules follow DICOM PS3.3 (CT Image IOD, C.8.2.1; Image Plane, C.7.6.2) and the ways in which files found in the wild
break them. Whatever would make the volume wrong is refused with a sentence; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from quietct.ct.dicom.header import clean_text, numbers, read_header, sop_class
from quietct.errors import UserError

MULTI_FRAME = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
# Keyword -> (how to name it to a person, tolerance for numbers): what all slices of a volume must share.
SHARED = {
    "Rows": ("number of rows", 0.0),
    "Columns": ("number of columns", 0.0),
    "PixelSpacing": ("pixel spacing", 1e-4),
    "ImageOrientationPatient": ("orientation", 1e-3),
    "ConvolutionKernel": ("reconstruction kernel", 0.0),
}


def is_ct_image(header: Dataset) -> bool:
    """Whether it is a cross-sectional CT image: no localiser, no other kind of object, no multi-frame object."""
    kind = [str(part).upper() for part in header.get("ImageType") or []]
    return sop_class(header) == CTImageStorage and not {"LOCALIZER", "SCOUT"} & set(kind)


def choose_series(headers: Iterable[Dataset], place: str, series_instance_uid: str | None = None) -> list[Dataset]:
    """Keep the CT images of one series, ordered by position; a file that occurs twice counts once.

    Parameters
    ----------
    headers : iterable of Dataset
        From `read_header`.
    place : str
        Where they are from, for messages.
    series_instance_uid : str, optional
        Which series to keep; needed if there are several.

    Returns
    -------
    list of Dataset
        From the first slice along the normal of the slices to the last.

    Raises
    ------
    UserError
        If no CT images are there, if several series are there and none is named, or if the named one is absent.
    """
    series: dict[str, dict[str, Dataset]] = {}
    others = multi_frame = 0
    for header in headers:
        if is_ct_image(header):
            images = series.setdefault(str(header.SeriesInstanceUID), {})
            images.setdefault(str(header.get("SOPInstanceUID", header.filename)), header)
        else:
            others += 1
            multi_frame += sop_class(header) in MULTI_FRAME
    if not series:
        if multi_frame:
            raise UserError(
                f"{place} contains Enhanced (multi-frame) CT, which is not supported: "
                "export it as classic CT images, one file a slice."
            )
        raise UserError(f"{place} contains no CT images ({others} other DICOM objects). Name another location.")
    if series_instance_uid:
        if series_instance_uid not in series:
            raise UserError(
                f"{place} does not contain series {series_instance_uid} (column `series_instance_uid`). "
                f"It contains {_listed(series)}."
            )
        chosen = series[series_instance_uid]
    elif len(series) > 1:
        raise UserError(
            f"{place} contains {len(series)} CT series: {_listed(series)}. "
            "Name one of them in the column `series_instance_uid`."
        )
    else:
        chosen = next(iter(series.values()))
    return sorted(chosen.values(), key=lambda header: (slice_position(header), str(header.get("SOPInstanceUID"))))


def _listed(series: dict[str, dict[str, Dataset]]) -> str:
    lines = []
    for uid, images in sorted(series.items()):
        text = clean_text(next(iter(images.values())).get("SeriesDescription")) or "no description"
        lines.append(f"{uid} ({text}, {len(images)} slice{'s' * (len(images) > 1)})")
    return "; ".join(lines)


def slice_position(header: Dataset) -> float:
    """Position (mm) of a slice along the normal of its plane (PS3.3 C.7.6.2.1.1); for an axial series this is z.

    Raises
    ------
    UserError
        If the file does not say where the slice lies.
    """
    position = numbers(header, "ImagePositionPatient", 3)
    orientation = numbers(header, "ImageOrientationPatient", 6)
    return float(np.dot(position, np.cross(orientation[:3], orientation[3:])))


def read_series(folder: str | Path, series_instance_uid: str | None = None) -> list[Dataset]:
    """Read the headers of the one CT series in a folder and check that they make one volume.

    Parameters
    ----------
    folder : path
        All files in it and below it are looked at.
    series_instance_uid : str, optional
        Which series, if there are several.

    Returns
    -------
    list of Dataset
        Headers without pixels, in the order of their position; `filename` is the path.

    Raises
    ------
    UserError
        If there is not exactly one series, slices differ in geometry or kernel, two lie at one position, one is
        missing, or a file cannot give Hounsfield units.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    headers = (read_header(path, str(path)) for path in sorted(folder.rglob("*")) if path.is_file())
    series = choose_series((header for header in headers if header is not None), str(folder), series_instance_uid)
    for header in series:
        _check_image(header)
    _check_same(series)
    _check_positions(series)
    return series


def _check_image(header: Dataset) -> None:
    name = header.filename
    photometric = header.get("PhotometricInterpretation")
    if photometric != "MONOCHROME2" or header.get("SamplesPerPixel", 1) != 1:
        raise UserError(f"{name} is a {photometric} image; a CT slice must be MONOCHROME2.")
    if header.get("BitsAllocated") != 16:
        raise UserError(f"{name} has {header.get('BitsAllocated')} bits a pixel; a CT slice must have 16.")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise UserError(f"{name} holds several frames; a CT slice must hold one.")
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    if slope is None or intercept is None or not float(slope):
        raise UserError(f"{name} has no rescale slope and intercept, so its Hounsfield units are not known.")
    if str(header.get("RescaleType") or "HU") not in ("HU", "US"):
        raise UserError(f"{name} is in units of {header.RescaleType}, not in Hounsfield units.")


def _check_same(series: list[Dataset]) -> None:
    first = series[0]
    for header in series[1:]:
        for keyword, (words, tolerance) in SHARED.items():
            a, b = first.get(keyword), header.get(keyword)
            if tolerance and a is not None and b is not None:
                same = len(a) == len(b) and np.allclose([float(v) for v in a], [float(v) for v in b], atol=tolerance)
            else:
                same = a == b
            if not same:
                raise UserError(
                    f"The slices do not belong together: the {words} is {a} in {first.filename} and {b} in "
                    f"{header.filename}. Keep the files of one reconstruction only."
                )


def _check_positions(series: list[Dataset]) -> None:
    at = np.array([slice_position(header) for header in series])
    steps = np.diff(at)
    if not len(steps):
        return
    if steps.min() < 0.01:
        k = int(np.argmin(steps))
        raise UserError(
            f"Two slices lie at the same position, {at[k]:.2f} mm: {series[k].filename} and {series[k + 1].filename}. "
            "Keep the files of one acquisition only."
        )
    if steps.max() > 1.5 * np.median(steps):
        k = int(np.argmax(steps))
        raise UserError(
            f"Slices are missing between {at[k]:.2f} mm ({series[k].filename}) and {at[k + 1]:.2f} mm "
            f"({series[k + 1].filename}): the usual step is {np.median(steps):.2f} mm. Fetch the series again."
        )
