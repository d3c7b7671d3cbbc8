"""Source `phantom`: a scan of the synthetic chest, written as a real DICOM CT series. Needs no network."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from tqdm import tqdm

from quietct.ct.phantom import FIELD_OF_VIEW_MM, PIXEL_MM, ROWS, scan_slice
from quietct.ct.thorax import LUNG_FLOOR_MM, LUNG_TOP_MM
from quietct.errors import UserError

logger = logging.getLogger(__name__)

INTERCEPT_HU, STORED_MAX = -1024, 4095
STORED_HU = (INTERCEPT_HU, INTERCEPT_HU + STORED_MAX)  # what 12 bits can hold
DATE, TIME = "20180601", "120000"


def fetch(
    dest: Path,
    location: str | None = None,
    nodule_layout: int | None = None,
    exposure_mas: float | None = None,
    repeat: int | None = None,
    n_slices: int | None = None,
    slice_spacing_mm: float | None = None,
    **_: Any,
) -> None:
    """Write a scan of the synthetic chest.

    The same parameters give the same bytes. Slices lie around the middle of the lungs and are as thick as their
    spacing.

    Parameters
    ----------
    dest : Path
        An empty folder; gets 0001.dcm, 0002.dcm, ... from the lowest slice to the highest.
    location : str, optional
        Not used.
    nodule_layout : int, default 1
        Which chest and arrangement of nodules.
    exposure_mas : float or str, default 200
        Exposure; the noise is about proportional to its inverse root. `inf` gives the truth behind the scanner's
        kernel, without noise, in files that name no exposure.
    repeat : int, default 1
        Repeat scans differ in their noise alone.
    n_slices : int, default 24
        Number of slices.
    slice_spacing_mm : float, default 3
        Their spacing and thickness.

    Raises
    ------
    UserError
        If a parameter makes no sense.
    """
    layout = _whole("nodule_layout", nodule_layout, 1, 0, 2**31)
    again = _whole("repeat", repeat, 1, 0, 2**31)
    count = _whole("n_slices", n_slices, 24, 1, 10_000)
    exposure = _exposure(exposure_mas)
    spacing = _number("slice_spacing_mm", slice_spacing_mm, 3.0, 0.1, 20)
    lungs = LUNG_TOP_MM - LUNG_FLOOR_MM
    if (count - 1) * spacing > lungs:
        raise UserError(
            f"The columns `n_slices` ({count}) and `slice_spacing_mm` ({spacing:g}) ask for "
            f"{(count - 1) * spacing:g} mm, but the lungs of the phantom are {lungs:g} mm high."
        )
    identity = [f"layout {layout}", _dose(exposure), f"repeat {again}", f"{count} x {spacing:g} mm"]
    for k in tqdm(range(count), desc="Phantom", unit="slice", disable=None):
        z = (k - (count - 1) / 2) * spacing
        hu = scan_slice(layout, z, spacing, exposure, again)
        stored = np.clip(np.rint(hu) - INTERCEPT_HU, 0, STORED_MAX).astype("<u2")
        _dataset(identity, layout, exposure, again, k, z, spacing, stored).save_as(
            dest / f"{k + 1:04}.dcm", enforce_file_format=True
        )
    logger.info("Phantom layout %d, %s, repeat %d: %d slices of %g mm", layout, _dose(exposure), again, count, spacing)


def _dataset(
    identity: list[str], layout: int, exposure: float, repeat: int, k: int, z: float, spacing: float, stored: np.ndarray
) -> FileDataset:
    """Build one CT image with every attribute that its IOD requires (DICOM PS3.3 A.3)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = _uid("image", *identity, str(k))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid("implementation")
    meta.ImplementationVersionName = "QUIETCT"

    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = DATE
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = TIME
    ds.AccessionNumber = ""
    ds.Modality = "CT"
    ds.Manufacturer = "quietct"
    ds.ManufacturerModelName = "Synthetic chest phantom"
    ds.SoftwareVersions = "2"
    ds.DeviceSerialNumber = "0"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Synthetic chest phantom"
    ds.SeriesDescription = f"Layout {layout}, {_dose(exposure)}, {spacing:g} mm, repeat {repeat}"[:64]

    ds.PatientName = f"Phantom^Layout{layout}"
    ds.PatientID = f"NoduleLayout_{layout}"
    ds.PatientBirthDate = ds.PatientSex = ""

    ds.BodyPartExamined = "CHEST"
    ds.KVP = "120"
    ds.DataCollectionDiameter = ds.ReconstructionDiameter = f"{FIELD_OF_VIEW_MM:g}"
    ds.SliceThickness = f"{spacing:g}"
    ds.SpacingBetweenSlices = f"{spacing:g}"
    if math.isfinite(exposure):
        ds.Exposure, ds.ExposureInuAs = round(exposure), round(exposure * 1000)
    ds.GantryDetectorTilt = "0"
    ds.ConvolutionKernel = "RAMP_HANN"
    ds.PatientPosition = "HFS"

    ds.StudyInstanceUID = _uid("study", f"layout {layout}")
    ds.SeriesInstanceUID = _uid("series", *identity)
    ds.StudyID = str(layout)
    ds.SeriesNumber = repeat
    ds.AcquisitionNumber = 1
    ds.InstanceNumber = k + 1
    corner = -(ROWS - 1) / 2 * PIXEL_MM
    ds.ImagePositionPatient = [f"{corner:.6f}", f"{corner:.6f}", f"{z:.4f}"]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.FrameOfReferenceUID = _uid("frame", f"layout {layout}")
    ds.PositionReferenceIndicator = ""
    ds.SliceLocation = f"{z:.4f}"

    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.PixelSpacing = [f"{PIXEL_MM:g}", f"{PIXEL_MM:g}"]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = ["-600", "40"], ["1500", "400"]
    ds.WindowCenterWidthExplanation = ["LUNG", "MEDIASTINUM"]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(INTERCEPT_HU), "1", "HU"
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def _uid(*parts: str) -> UID:
    return generate_uid(entropy_srcs=["quietct phantom 2", *parts])


def _dose(exposure_mas: float) -> str:
    return f"{exposure_mas:g} mAs" if math.isfinite(exposure_mas) else "no noise"


def _exposure(value: Any) -> float:
    if str(value).strip().lower() == "inf":
        return math.inf
    return _number("exposure_mas", value, 200.0, 0.1, 100_000, "; inf stands for a scan without noise")


def _whole(name: str, value: Any, default: int, low: int, high: int) -> int:
    number = _number(name, value, default, low, high)
    if number != int(number):
        raise UserError(f"The column `{name}` says {value!r}; it must be a whole number.")
    return int(number)


def _number(name: str, value: Any, default: float, low: float, high: float, otherwise: str = "") -> float:
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise UserError(f"The column `{name}` says {value!r}; it must be a number from {low:g} to {high:g}{otherwise}.")
    return number
