"""Write a CT series derived from another one: the same slices, with other Hounsfield units where there was a patient.

The files are classic CT images in Explicit VR Little Endian, one for each slice, whatever the source was: that is what
every viewer and archive takes. A file of many frames would have to state facts about a series as a whole that are known
for its frames only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from quietct.ct.dicom.decoding import DecodingProcess
from quietct.ct.dicom.deidentification import remove_identity, without_identity
from quietct.ct.dicom.derived_header import Derivation, derive, derived_uid
from quietct.ct.dicom.field_of_view import outside_field_of_view
from quietct.ct.dicom.header import BoundedFile, quiet_pydicom
from quietct.ct.dicom.images import Image
from quietct.ct.dicom.pixels import opened, padding_range, read_stored, stored_range, to_hounsfield, used_bits
from quietct.ct.dicom.single_frame import single_frame
from quietct.ct.dicom.transcoding import explicit_little_endian
from quietct.errors import UserError

__all__ = ["Derivation", "derived_uid", "write_derived"]

logger = logging.getLogger(__name__)


def write_derived(
    images: Iterable[Image],
    denoise: Callable[[np.ndarray], np.ndarray],
    out_dir: str | Path,
    derivation: Derivation,
    *,
    deidentify: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the derived series of a series.

    The same images and derivation give the same bytes. Identity of the patient, study, frame of reference, geometry,
    protocol, rescale slope and intercept stay as they are. Pixels outside the field of view
    (`quietct.ct.dicom.field_of_view`) and bits above those in use stay too. All others are rounded to a stored value,
    kept within the stored range, and kept from the value that stands for padding. Private attributes are dropped:
    nobody but their maker can tell which are about the noise and the pixels of the source, or about the patient.

    Parameters
    ----------
    images : iterable of Image
        The slices of one series in order, from `quietct.ct.dicom.series.read_series`.
    denoise : callable
        Gets the HU of a slice, float32 (rows, columns), -1024 where the scanner padded; gives the new ones.
    out_dir : path
        An empty folder; gets 0001.dcm, 0002.dcm, ... in the order of the images.
    derivation : Derivation
        What the files shall say about it.
    deidentify : bool
        Whether to take out what tells who the patient is (`quietct.ct.dicom.deidentification`).
    progress : callable, optional
        Called after each slice with how many are written, and how many there are.

    Raises
    ------
    UserError
        If a slice has no rescale slope, its pixels cannot be decoded, or the new HU are not finite.
    """
    images, folder = list(images), Path(out_dir)
    width = max(4, len(str(len(images))))
    done = 0
    with quiet_pydicom(), DecodingProcess() as process:
        for _, of_file in groupby(images, key=lambda image: image.file):
            first = next(of_file)
            with opened(first) as file:
                source = _read_header(file, first)
                source_class = str(source.SOPClassUID)
                for image in (first, *of_file):
                    header = single_frame(source, image.frame) if image.multi_frame else source
                    stored = _new_stored(image, read_stored(image, file, process), denoise, not deidentify)
                    if deidentify:
                        remove_identity(header, image)
                        image = without_identity(image)
                    derive(header, source_class, image, done + 1, derivation)
                    _save(header, stored, folder / f"{done + 1:0{width}}.dcm")
                    done += 1
                    if progress:
                        progress(done, len(images))
    logger.info("%s: %d images of a derived series", folder, done)


def _read_header(file: BoundedFile, image: Image) -> Dataset:
    try:
        file.seek(0)
        return explicit_little_endian(dcmread(file, stop_before_pixels=True))
    except OSError:
        raise
    except Exception:  # pydicom raises almost anything on damaged files
        raise UserError(f"{image.file} is a damaged DICOM file. Replace or remove it.") from None


def _new_stored(
    image: Image, stored: np.ndarray, denoise: Callable[[np.ndarray], np.ndarray], keep_unused_bits: bool
) -> np.ndarray:
    """Give the stored values of the derived image, all 16 bits of them (uint16)."""
    slope, intercept = image.number("RescaleSlope"), image.number("RescaleIntercept")
    if not slope or intercept is None:
        raise UserError(
            f"{image.name} has no rescale slope and intercept, which a CT image must have. "
            "Export the series as CT images."
        )
    hu, padding = to_hounsfield(image, stored)
    new_hu = np.asarray(denoise(hu.astype(np.float32)))
    if new_hu.shape != hu.shape:
        raise ValueError(f"Slices of {hu.shape} became {new_hu.shape}.")
    used = used_bits(image, stored)
    inside = ~outside_field_of_view(used, padding)
    if not np.isfinite(new_hu[inside]).all():
        raise UserError(f"The network gave values that are no numbers for {image.name}. Use other weights.")
    low, high = stored_range(image)
    new = np.clip(np.rint((new_hu.astype(np.float64) - intercept) / slope), low, high)
    new = _no_padding(image, np.where(inside, new, used).astype(np.int64), low, high)
    if not keep_unused_bits:
        stored = used if padding is None else np.where(padding, stored, used)
    if used is stored or not keep_unused_bits:
        return np.where(inside, new, stored).astype(np.uint16, casting="unsafe")
    bits = (1 << (image.whole("BitsStored") or 16)) - 1  # overlays may be in the others
    return np.where(inside, (stored.astype(np.int64) & ~bits) | (new & bits), stored).astype(np.uint16)


def _no_padding(image: Image, values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Move values that would stand for padding to the next one that does not."""
    limits = padding_range(image)
    if limits is None:
        return values
    below, above = limits[0] - 1, limits[1] + 1
    middle = (below + above) / 2 if below >= low and above <= high else -np.inf if above <= high else np.inf
    moved = np.where(values < middle, below, above)
    return np.where((values > below) & (values < above), moved, values)


def _save(header: Dataset, stored: np.ndarray, path: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = derived_uid("implementation")
    meta.ImplementationVersionName = "QUIETCT"
    header.PixelData = stored.astype("<u2").tobytes()
    header["PixelData"].VR = "OW"
    dataset = FileDataset(str(path), header, preamble=b"\0" * 128, file_meta=meta)
    dataset.set_original_encoding(False, True, header.original_character_set)
    dataset.save_as(path, enforce_file_format=True)
