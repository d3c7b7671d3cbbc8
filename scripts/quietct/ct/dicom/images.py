"""One CT slice in one shape, whether it is a classic file or a frame of an Enhanced or Legacy Converted CT."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import IO, Any

import numpy as np
from pydicom import Dataset, Sequence
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.multival import MultiValue
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from quietct.ct.dicom.header import Header, clean_text, quiet_pydicom, read_header
from quietct.errors import UserError

MULTI_FRAME = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
# All that is kept of a slice; nothing in it is about the patient.
KEYWORDS = (
    "AcquisitionNumber", "BitsAllocated", "BitsStored", "Columns", "ConvolutionKernel", "Exposure", "ExposureInmAs",
    "ExposureInuAs", "FrameAcquisitionNumber", "FrameType", "HighBit", "ImageOrientationPatient",
    "ImagePositionPatient", "ImageType", "KVP", "Manufacturer", "ManufacturerModelName", "ModalityLUTSequence",
    "NumberOfFrames", "PhotometricInterpretation", "PixelPaddingRangeLimit", "PixelPaddingValue",
    "PixelRepresentation", "PixelSpacing", "RescaleIntercept", "RescaleSlope", "RescaleType", "Rows",
    "SOPInstanceUID", "SamplesPerPixel", "SeriesDescription", "SeriesInstanceUID", "SliceThickness",
    "StudyInstanceUID", "VolumeBasedCalculationTechnique", "VolumetricProperties",
)  # fmt: skip
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
TAGS = {keyword: tag_for_keyword(keyword) or 0 for keyword in (*KEYWORDS, *OFFSETS, "SOPClassUID", SHARED, PER_FRAME)}
# The groups of a frame in which these attributes are (PS3.3 C.7.6.16.2 and C.8.15.3).
GROUPS = (
    "FrameContentSequence", "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence",
    "PixelValueTransformationSequence", "CTImageFrameTypeSequence", "CTReconstructionSequence",
    "CTExposureSequence", "CTXRayDetailsSequence", "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)  # fmt: skip
REMEMBERED = 1024  # bytes; longer values are not kept for the next slice
VALUES = {keyword: TAGS[keyword] for keyword in KEYWORDS}
MALFORMED = object()  # what is there but cannot be read as what it should be


@dataclass(frozen=True)
class Image:
    """One CT slice.

    Attributes
    ----------
    name : str
        What to call it in messages: its file, and which frame if there are several.
    file : str
        The file's name.
    frame : int
        Which frame of the file, from 0.
    multi_frame : bool
        Whether the file is an Enhanced or Legacy Converted CT.
    values : mapping
        Keyword -> value (number, text, tuple of them, None, or `MALFORMED`) of `KEYWORDS`.
    syntax, start, length, size, cut
        Where and how the file has its pixels, see `Header`.
    offsets : tuple of bytes, optional
        The file's extended offset table and its lengths.
    """

    name: str
    file: str
    frame: int
    multi_frame: bool
    values: Mapping[str, Any]
    syntax: UID
    start: int | None
    length: int
    size: int
    cut: bool
    offsets: tuple[bytes, bytes] | None = None

    def text(self, keyword: str) -> str | None:
        """Give an attribute as text without control characters; None if it is absent, empty or malformed."""
        value = self.values.get(keyword)
        return (
            None if value is MALFORMED else clean_text(value if isinstance(value, (str, tuple)) else str(value or ""))
        )

    def number(self, keyword: str) -> float | None:
        """Give an attribute as a number; None if it is absent, empty, malformed or not finite."""
        value = self.values.get(keyword)
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None

    def whole(self, keyword: str) -> int | None:
        """Give an attribute as a whole number; None if it is anything else."""
        value = self.number(keyword)
        return int(value) if value is not None and value == int(value) else None

    def numbers(self, keyword: str, count: int) -> np.ndarray:
        """Give an attribute of `count` finite numbers; a `UserError` if it is anything else."""
        value = self.values.get(keyword)
        if isinstance(value, tuple) and len(value) == count and all(isinstance(v, (int, float)) for v in value):
            numbers = np.array(value, float)
            if np.isfinite(numbers).all():
                return numbers
        raise UserError(f"{self.name} has no valid {keyword}, so the place of the slice is not known.")

    @property
    def series(self) -> str:
        """UID of its series."""
        return str(self.values["SeriesInstanceUID"])

    @property
    def uid(self) -> str:
        """UID of the object that it is (a part of)."""
        return self.text("SOPInstanceUID") or self.file

    @property
    def acquisition(self) -> int | None:
        """The number of its acquisition."""
        number = self.whole("FrameAcquisitionNumber")
        return self.whole("AcquisitionNumber") if number is None else number

    @property
    def kind(self) -> tuple[str, ...]:
        """The values of its Image Type or Frame Type, in capitals."""
        values = self.values.get("FrameType") or self.values.get("ImageType") or ()
        if values is MALFORMED:
            return ()
        return tuple(str(v).upper().strip() for v in ((values,) if isinstance(values, str) else values))

    @cached_property
    def normal(self) -> np.ndarray:
        """Unit vector across its plane: rows' direction x columns' direction (PS3.3 C.7.6.2.1.1)."""
        axes = self.numbers("ImageOrientationPatient", 6).reshape(2, 3)
        if not np.allclose(axes @ axes.T, np.eye(2), atol=0.01):
            raise UserError(
                f"{self.name} has no valid ImageOrientationPatient, so the place of the slice is not known."
            )
        normal = np.cross(axes[0], axes[1])
        return normal / np.linalg.norm(normal)

    @cached_property
    def position(self) -> float:
        """Position (mm) along the normal; for an axial slice this is z."""
        return float(self.numbers("ImagePositionPatient", 3) @ self.normal)


def read_images(file: IO[bytes], size: int, name: str) -> list[Image] | None:
    """Read the CT slices that a file holds, without their pixels.

    Parameters
    ----------
    file : binary file
        At its start.
    size : int
        Its length in bytes.
    name : str
        What to call it in messages.

    Returns
    -------
    list of Image or None
        Empty if it holds another kind of DICOM object; None if it isn't a DICOM file.

    Raises
    ------
    UserError
        If it is a DICOM file but cannot be read.
    """
    with quiet_pydicom():
        return _read_images(file, size, name)


def _read_images(file: IO[bytes], size: int, name: str) -> list[Image] | None:
    header = read_header(file, size, name, list(TAGS.values()))
    if header is None:
        return None
    try:
        written = str(header.dataset.file_meta.get("MediaStorageSOPClassUID") or header.sop_class)
        if header.sop_class != written and {header.sop_class, written} & {CTImageStorage, *MULTI_FRAME}:
            raise UserError(f"{name} is a damaged DICOM file (it contradicts itself). Replace or remove it.")
        known = UID(header.sop_class).name != header.sop_class
        if not known and not header.dataset.get("SeriesInstanceUID"):
            raise UserError(f"{name} is a damaged DICOM file (cut off in its header). Replace or remove it.")
        if header.sop_class not in (CTImageStorage, *MULTI_FRAME):
            return []
        images = list(_images(header, name))
    except UserError:
        raise
    except Exception:  # pydicom reads values when they are asked for, and raises almost anything on damaged ones
        raise UserError(f"{name} is a damaged DICOM file. Replace or remove it.") from None
    if not all(isinstance(image.values["SeriesInstanceUID"], str) for image in images):
        raise UserError(f"{name} is a damaged DICOM file (cut off in its header). Replace or remove it.")
    return images


def _images(header: Header, name: str) -> Iterator[Image]:
    dataset = header.dataset
    tables = tuple(dataset.get(keyword) for keyword in OFFSETS)
    offsets = tables if all(isinstance(table, bytes) for table in tables) else None
    rest = (header.syntax, header.start, header.length, header.size, header.cut, offsets)
    if header.sop_class == CTImageStorage:
        yield Image(name, name, 0, False, _values([dataset]), *rest)
        return
    frames = dataset.get(PER_FRAME) or []
    if not frames or len(frames) != int(dataset.get("NumberOfFrames") or 0):
        raise UserError(f"{name} does not describe each of its frames. Replace or remove it.")
    shared = [group for item in (dataset.get(SHARED) or [])[:1] for group in _groups(item)]
    common = _values([*shared, dataset])
    for k, frame in enumerate(frames):
        own = {keyword: value for keyword, value in _values(_groups(frame)).items() if value is not None}
        yield Image(f"frame {k + 1} of {name}", name, k, True, common | own, *rest)


def _groups(item: Dataset) -> list[Dataset]:
    return [group for keyword in GROUPS for group in (item.get(keyword) or [])[:1]]


def _values(levels: list[Dataset]) -> dict[str, Any]:
    """Give the attributes from the first of several data sets that has each."""
    elements: dict[int, tuple[Any, Dataset]] = {}
    for level in reversed(levels):
        elements |= {int(element.tag): (element, level) for element in level.elements()}
    return {keyword: _value(*elements[tag]) if tag in elements else None for keyword, tag in VALUES.items()}


def _value(element: DataElement | RawDataElement, dataset: Dataset) -> Any:
    if isinstance(element, RawDataElement) and element.value is not None and len(element.value) < REMEMBERED:
        encoding = dataset.original_character_set
        return _converted(element._replace(value_tell=0), encoding if isinstance(encoding, str) else tuple(encoding))
    try:
        return _plain(dataset[element.tag].value)
    except Exception:  # its text quotes the value
        return MALFORMED


@lru_cache(maxsize=2048)
def _converted(element: RawDataElement, encoding: str | tuple[str, ...]) -> Any:
    """Convert what a file says. Slices of a series say mostly the same, and converting takes longer than reading."""
    try:
        return _plain(convert_raw_data_element(element, encoding=encoding).value)  # type: ignore[arg-type]
    except Exception:  # its text quotes the value
        return MALFORMED


def _holds_elements(text: str) -> bool:
    """Whether a wrong length made other elements a part of this one; they may be about the patient.

    The tag and length of an element have three bytes and more that no text has. A single one is a slip of a scanner:
    720 series of Phantom_FDA have it in their description.
    """
    return sum(unicodedata.category(character) == "Cc" for character in text.rstrip("\0 ")) > 2


def _plain(value: Any) -> Any:
    """Turn a value into a plain number, text or tuple, without what pydicom keeps beside it."""
    if isinstance(value, Sequence):
        return value[0] if value else None
    if isinstance(value, (MultiValue, list)):
        parts = tuple(_plain(part) for part in value)
        return MALFORMED if any(part is MALFORMED for part in parts) else parts
    if value is None or value == "":
        return None
    if isinstance(value, str) and _holds_elements(value):
        return MALFORMED
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, bytes) and len(value) == 2:  # the padding value, signed or not, where that is left open
        return int.from_bytes(value, "little")
    return MALFORMED
