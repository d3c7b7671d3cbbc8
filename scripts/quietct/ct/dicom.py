"""Read a CT series: find its images, order them by position, and convert them to Hounsfield units.

The rules follow DICOM PS3.3 (CT Image IOD, C.8.2.1; Image Plane, C.7.6.2) and the ways in which files found in the wild
break them. Whatever would make the volume wrong is refused with a sentence; nothing is guessed.
"""

from __future__ import annotations

import logging
import math
import unicodedata
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
)

from quietct.ct.volume import new_volume, to_int16, write_info
from quietct.errors import UserError

logger = logging.getLogger(__name__)

PADDING_HU = -1024.0
MULTI_FRAME = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
# Keyword -> (how to name it to a person, tolerance for numbers): what all slices of a volume must share.
SHARED = {
    "Rows": ("number of rows", 0.0),
    "Columns": ("number of columns", 0.0),
    "PixelSpacing": ("pixel spacing", 1e-4),
    "ImageOrientationPatient": ("orientation", 1e-3),
    "ConvolutionKernel": ("reconstruction kernel", 0.0),
}


def read_header(source: str | Path | IO[bytes], name: str) -> Dataset | None:
    """Read a file's attributes without its pixels.

    Parameters
    ----------
    source : path or binary file
        What to read.
    name : str
        What to call it in messages; kept as the attribute `filename` of the result.

    Returns
    -------
    Dataset or None
        None if it isn't a DICOM file.

    Raises
    ------
    UserError
        If it is a DICOM file but cannot be read.
    """
    try:
        header = dcmread(source, stop_before_pixels=True)
        kind = sop_class(header)
        whole = kind and (kind == MediaStorageDirectoryStorage or header.get("SeriesInstanceUID"))
        header.get("ImageType")  # values are only decoded when asked for
    except InvalidDicomError:
        return None
    except (OSError, BadZipFile, zlib.error):
        raise  # the medium is at fault, not the file
    except Exception as error:  # pydicom raises almost anything on damaged files
        raise UserError(f"{name} is a damaged DICOM file ({error}). Replace or remove it.") from error
    if not whole:
        raise UserError(f"{name} is a damaged DICOM file (cut off in its header). Replace or remove it.")
    header.filename = name
    return header


def sop_class(header: Dataset) -> str:
    """Tell what kind of object a file holds; where the header is cut off, its preamble still says."""
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", ""))


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
    position = _numbers(header, "ImagePositionPatient", 3)
    orientation = _numbers(header, "ImageOrientationPatient", 6)
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


def convert_series(
    dicom_dir: str | Path,
    volume_path: str | Path,
    info_path: str | Path,
    clip_hu: tuple[float, float] | None = None,
) -> None:
    """Convert a folder with one CT series to a volume in HU and its facts.

    Slices are decoded and written one by one, so memory does not grow with the series.

    Parameters
    ----------
    dicom_dir : path
        The folder.
    volume_path : path
        The .npy to write: int16 HU (slices, rows, columns), in the order of position.
    info_path : path
        The .json to write: identity, geometry and protocol of the series, and nothing about the patient.
    clip_hu : (low, high), optional
        HU are clipped to it, as in a picture on a grey scale.

    Raises
    ------
    UserError
        As `read_series`, or if the pixels of a file are missing, cut off or cannot be decoded.
    """
    series = read_series(dicom_dir)
    shape = (len(series), int(series[0].Rows), int(series[0].Columns))
    padded = 0
    with new_volume(volume_path, shape) as volume:
        for k, header in enumerate(series):
            hu, padding = read_slice(header.filename)
            volume[k] = to_int16(hu if clip_hu is None else np.clip(hu, *clip_hu))
            padded += int(padding.sum())
    write_info(info_path, series_info(series) | {"shape": list(shape), "padded_pixels": padded})
    logger.info("%s: %d slices of %d x %d, %d padded pixels", dicom_dir, *shape, padded)


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


def series_info(series: list[Dataset]) -> dict[str, Any]:
    """Facts of a series as plain JSON values (numbers, text, None), from its headers in order of position."""
    first = series[0]
    micro = _number(first, "ExposureInuAs")
    return {
        "series_instance_uid": clean_text(first.get("SeriesInstanceUID")),
        "study_instance_uid": clean_text(first.get("StudyInstanceUID")),
        "series_description": clean_text(first.get("SeriesDescription")),
        "spacing_mm": [float(v) for v in _numbers(first, "PixelSpacing", 2)],
        "z_mm": [round(slice_position(header), 6) for header in series],
        "orientation": [float(v) for v in _numbers(first, "ImageOrientationPatient", 6)],
        "slice_thickness_mm": _number(first, "SliceThickness"),
        "kernel": clean_text(first.get("ConvolutionKernel")),
        "kvp": _number(first, "KVP"),
        "exposure_mas": _number(first, "Exposure") if micro is None else micro / 1000,
        "manufacturer": clean_text(first.get("Manufacturer")),
        "model": clean_text(first.get("ManufacturerModelName")),
        "sop_instance_uids": [clean_text(header.get("SOPInstanceUID")) for header in series],
    }


def clean_text(value: Any) -> str | None:
    r"""Text of an attribute without control characters; several values joined by a backslash; None if empty."""
    if value is None:
        return None
    text = value if isinstance(value, str) else "\\".join(str(part) for part in value)
    return "".join(c for c in text if unicodedata.category(c)[0] != "C").strip() or None


def _number(header: Dataset, keyword: str) -> float | None:
    value = header.get(keyword)
    if value is None or value == "":
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _numbers(header: Dataset, keyword: str, count: int) -> np.ndarray:
    value = header.get(keyword)
    if value is None or isinstance(value, str) or len(value) != count:
        raise UserError(f"{header.filename} has no valid {keyword}, so the place of the slice is not known.")
    return np.array([float(v) for v in value])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."
