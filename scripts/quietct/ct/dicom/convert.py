"""Convert a CT series to a volume in Hounsfield units and its facts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from quietct.ct.dicom.header import clean_text, number, numbers
from quietct.ct.dicom.pixels import read_slice
from quietct.ct.dicom.series import read_series, slice_position
from quietct.ct.volume import new_volume, to_int16, write_info

logger = logging.getLogger(__name__)


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


def series_info(series: list[Dataset]) -> dict[str, Any]:
    """Facts of a series as plain JSON values (numbers, text, None), from its headers in order of position."""
    first = series[0]
    micro = number(first, "ExposureInuAs")
    return {
        "series_instance_uid": clean_text(first.get("SeriesInstanceUID")),
        "study_instance_uid": clean_text(first.get("StudyInstanceUID")),
        "series_description": clean_text(first.get("SeriesDescription")),
        "spacing_mm": [float(v) for v in numbers(first, "PixelSpacing", 2)],
        "z_mm": [round(slice_position(header), 6) for header in series],
        "orientation": [float(v) for v in numbers(first, "ImageOrientationPatient", 6)],
        "slice_thickness_mm": number(first, "SliceThickness"),
        "kernel": clean_text(first.get("ConvolutionKernel")),
        "kvp": number(first, "KVP"),
        "exposure_mas": number(first, "Exposure") if micro is None else micro / 1000,
        "manufacturer": clean_text(first.get("Manufacturer")),
        "model": clean_text(first.get("ManufacturerModelName")),
        "sop_instance_uids": [clean_text(header.get("SOPInstanceUID")) for header in series],
    }
