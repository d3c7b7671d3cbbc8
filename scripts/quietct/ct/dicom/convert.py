"""Convert a CT series to a volume in Hounsfield units and its facts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from quietct.ct.dicom.checks import check_positions, gantry_tilt
from quietct.ct.dicom.decoding import DecodingProcess
from quietct.ct.dicom.header import quiet_pydicom
from quietct.ct.dicom.images import Image
from quietct.ct.dicom.pixels import opened, read_slice
from quietct.ct.dicom.series import Series, Skipped, read_series
from quietct.ct.volume import HU_MAX, HU_MIN, write_info, write_volume
from quietct.errors import UserError

logger = logging.getLogger(__name__)


def convert_series(
    dicom_dir: str | Path,
    volume_path: str | Path,
    info_path: str | Path,
    clip_hu: tuple[float, float] | None = None,
    unusable: str = "strict",
    n_slices: int | None = None,
    acquisition_number: int | None = None,
    series_instance_uid: str | None = None,
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
    unusable : {"strict", "skip"}
        Whether an unusable file stops the conversion, or is left out and listed.
    n_slices : int, optional
        Convert the first slices only, in the order of position.
    acquisition_number : int, optional
        Convert the slices of this acquisition only.
    series_instance_uid : str, optional
        Which series it has to be.

    Raises
    ------
    UserError
        As `read_series`, if pixels cannot be decoded, or if there are fewer than `n_slices`.
    """
    series = read_series(dicom_dir, series_instance_uid, unusable, acquisition_number)
    if unusable == "skip":
        series = decodable(series, n_slices)
    images = series.images[:n_slices]
    if n_slices is not None and len(images) < n_slices:
        raise UserError(f"{dicom_dir} has {len(images)} slices, fewer than the column `n_slices` says ({n_slices}).")
    shape = (len(images), images[0].whole("Rows") or 0, images[0].whole("Columns") or 0)
    low, high = (int(np.rint(np.clip(end, HU_MIN, HU_MAX))) for end in clip_hu or (HU_MIN, HU_MAX))
    padded = 0

    def slices(process: DecodingProcess) -> Iterator[np.ndarray]:
        nonlocal padded
        one = np.empty(shape[1:], np.int16)
        for hu, padding in read_pixels(images, process):
            if padding is not None:
                padded += int(np.count_nonzero(padding))
            if hu.dtype.kind == "f":
                np.rint(hu, out=hu)
            yield np.clip(hu, low, high, out=one, casting="unsafe")

    with quiet_pydicom(), DecodingProcess() as process:
        write_volume(volume_path, shape, slices(process))
    info = series_info(images, series.skipped)
    write_info(info_path, info | {"shape": list(shape), "padded_pixels": padded})
    logger.info("%s: %d slices of %d x %d, %d padded pixels", dicom_dir, *shape, padded)


def read_pixels(images: list[Image], process: DecodingProcess) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Decode slices one after the other: HU and padding of each, as from `read_slice`."""
    for _, of_file in groupby(images, key=lambda image: image.file):
        first = next(of_file)
        with opened(first) as file:
            for image in (first, *of_file):
                yield read_slice(image, file, process)


def decodable(series: Series, n_slices: int | None = None) -> Series:
    """Leave out the slices whose pixels cannot be decoded; how many remain must be known before any is written."""
    kept: list[Image] = []
    skipped = list(series.skipped)
    with DecodingProcess() as process:
        for image in series.images:
            if len(kept) == n_slices:
                break
            try:
                next(read_pixels([image], process))
                kept.append(image)
            except UserError as error:
                logger.warning("Left out: %s", error)
                skipped.append(Skipped(image.file, str(error)))
    if not kept:
        raise UserError(f"None of the slices can be decoded: {skipped[0].reason}")
    check_positions(kept, gaps=True)
    return Series(kept, skipped)


def series_info(images: list[Image], skipped: list[Skipped]) -> dict[str, Any]:
    """Facts of a series as plain JSON values (numbers, text, None), from its slices in order of position."""
    first = images[0]
    micro, milli = first.number("ExposureInuAs"), first.number("ExposureInmAs")
    exposure = milli if milli is not None else micro / 1000 if micro is not None else first.number("Exposure")
    steps = np.diff([image.position for image in images])
    return {
        "series_instance_uid": first.text("SeriesInstanceUID"),
        "study_instance_uid": first.text("StudyInstanceUID"),
        "series_description": first.text("SeriesDescription"),
        "spacing_mm": first.numbers("PixelSpacing", 2).tolist(),
        "z_mm": [round(image.position, 6) for image in images],
        "step_mm": np.quantile(steps, (0, 0.5, 1), method="lower").round(6).tolist() if len(steps) else None,
        "gantry_tilt_deg": gantry_tilt(images),
        "orientation": first.numbers("ImageOrientationPatient", 6).tolist(),
        "slice_thickness_mm": first.number("SliceThickness"),
        "kernel": first.text("ConvolutionKernel"),
        "kvp": first.number("KVP"),
        "exposure_mas": exposure,
        "manufacturer": first.text("Manufacturer"),
        "model": first.text("ManufacturerModelName"),
        "transfer_syntax": str(first.syntax),
        "multi_frame": first.multi_frame,
        "sop_instance_uids": [image.text("SOPInstanceUID") for image in images],
        "frames": [image.frame + 1 for image in images] if first.multi_frame else None,
        "skipped": [asdict(skip) for skip in skipped],
    }
