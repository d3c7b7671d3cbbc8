"""Turn the header of a CT image into that of an image derived from it (PS3.3 C.7.6.1, C.8.2.1, C.12.4.1)."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset, Sequence
from pydicom.multival import MultiValue
from pydicom.uid import (
    JPEG2000,
    JPEG2000MC,
    UID,
    CTImageStorage,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    generate_uid,
)

import quietct
from quietct.ct.dicom.header import clean_text
from quietct.ct.dicom.images import Image
from quietct.errors import UserError

RESEARCH_USE = "research use, not for diagnosis"
LONGEST_DESCRIPTION, LONGEST_DERIVATION = 64, 1024  # characters of LO and ST
SERIES_NUMBERS = 9000  # derived series come after all series of a scanner
PROCESSING_EQUIPMENT = ("109102", "DCM", "Processing Equipment")  # CID 7005
SOURCE_IMAGE = ("121322", "DCM", "Source image for image processing operation")  # CID 7202
# CID 7203 has no code for the reduction of noise. This one is the closest: noise is smoothed away.
SMOOTHING = ("113087", "DCM", "Smoothing")
# What is about the pixels of the source, its making or its encoding, and would be wrong. No date is put in its place:
# the same input always gives the same bytes.
WRONG = (
    "ContentDate", "ContentTime", "DataSetTrailingPadding", "DigitalSignaturesSequence", "EncryptedAttributesSequence",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "IconImageSequence", "InstanceCreationDate",
    "InstanceCreationTime", "InstanceCreatorUID", "LargestImagePixelValue", "LargestPixelValueInSeries",
    "LargestValidPixelValue", "LengthToEnd", "MACParametersSequence", "SeriesDate", "SeriesDescriptionCodeSequence",
    "SeriesTime", "SmallestImagePixelValue", "SmallestPixelValueInSeries", "SmallestValidPixelValue",
    "SOPAuthorizationComment", "SOPAuthorizationDateTime", "SOPInstanceStatus",
)  # fmt: skip
LOSSY = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    JPEG2000MC: "ISO_15444_1",
}


@dataclass(frozen=True)
class Derivation:
    """How images were derived.

    Attributes
    ----------
    description : str
        For a person: the method, its weights and their digest.
    digest : str
        Of everything that the pixels depend on. Another digest gives another series.
    series_description : str
        A few words for the list of series, such as "Denoised (chen2017)".
    """

    description: str
    digest: str
    series_description: str


def derived_uid(*parts: str) -> UID:
    """Make a UID of texts: the same texts give the same UID, any others another one."""
    return generate_uid(entropy_srcs=["\0".join(("quietct", *parts))])


def derive(header: Dataset, source_class: str, image: Image, number: int, derivation: Derivation) -> None:
    """Say in a header, in place, that the image is derived, how and of which.

    Parameters
    ----------
    header : Dataset
        Of the source image, or `single_frame` of it.
    source_class : str
        UID of the kind of object that the source is.
    image : Image
        The source image.
    number : int
        Of the image in the series, from 1.
    derivation : Derivation
        How.

    Raises
    ------
    UserError
        If the source has no SOP Instance UID to refer to.
    """
    source, series = image.text("SOPInstanceUID"), image.text("SeriesInstanceUID")
    if not source or not series:
        raise UserError(f"{image.name} has no SOPInstanceUID, so nothing can refer to it. Export the series again.")
    parts = (quietct.__version__, derivation.digest, series)
    for keyword in WRONG:
        header.pop(keyword, None)
    header.ImageType = _image_type(header)
    header.SOPClassUID = CTImageStorage
    header.SOPInstanceUID = derived_uid("image", *parts, source, str(image.frame))
    header.SeriesInstanceUID = derived_uid("series", *parts)
    header.SeriesNumber = _series_number(header)
    header.InstanceNumber = number
    header.SeriesDescription = _series_description(derivation, image)
    _describe(header, derivation)
    _refer(header, image, source_class, source)
    _keep_losses(header, image)


def _image_type(header: Dataset) -> list[str]:
    """Keep all values but the first two; in CT there must be a third one (PS3.3 C.8.2.1.1.1)."""
    values = header.get("ImageType")
    rest = [str(value or "") for value in values[2:]] if isinstance(values, MultiValue) else []
    return ["DERIVED", "SECONDARY", (rest and rest[0]) or "AXIAL", *rest[1:]]


def _series_number(header: Dataset) -> int:
    try:
        number = int(header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):  # whatever the file says there
        number = 0
    return SERIES_NUMBERS + number if 0 <= number < 2**31 - SERIES_NUMBERS else SERIES_NUMBERS


def _series_description(derivation: Derivation, image: Image) -> str:
    """Put what nobody may overlook before the source's own description: viewers show the beginning only."""
    short = clean_text(derivation.series_description) or "Derived"
    start = f"{short[: LONGEST_DESCRIPTION - len(RESEARCH_USE) - 2].strip()}, {RESEARCH_USE}"
    own = (image.text("SeriesDescription") or "").replace("\\", " ")
    room = LONGEST_DESCRIPTION - len(start) - 2
    return f"{start}: {own[:room].strip(' ,;_-')}" if own and room > 0 and not own.startswith(start[:20]) else start


def _describe(header: Dataset, derivation: Derivation) -> None:
    before = header.get("DerivationDescription")
    text = f"{derivation.description} Derivation {derivation.digest}."
    if isinstance(before, str) and clean_text(before):
        text = f"{text} Before: {clean_text(before)}"
    header.DerivationDescription = text[:LONGEST_DERIVATION]
    header.DerivationCodeSequence = Sequence([*_items(header, "DerivationCodeSequence"), _code(*SMOOTHING)])
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = Sequence([_code(*PROCESSING_EQUIPMENT)])
    equipment.Manufacturer = equipment.ManufacturerModelName = "quietct"
    equipment.SoftwareVersions = quietct.__version__
    equipment.ContributionDescription = f"Noise reduction, {RESEARCH_USE}"
    header.ContributingEquipmentSequence = Sequence([*_items(header, "ContributingEquipmentSequence"), equipment])


def _refer(header: Dataset, image: Image, source_class: str, source: str) -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source_class, source
    if image.multi_frame:
        reference.ReferencedFrameNumber = image.frame + 1
    reference.SpatialLocationsPreserved = "YES"
    reference.PurposeOfReferenceCodeSequence = Sequence([_code(*SOURCE_IMAGE)])
    header.SourceImageSequence = Sequence([reference])


def _keep_losses(header: Dataset, image: Image) -> None:
    """Note a lossy compression that only the encoding of the source tells of; what the header says stays."""
    if image.syntax not in LOSSY or header.get("LossyImageCompression") == "01":
        return
    pixels = 2 * (image.whole("Rows") or 0) * (image.whole("Columns") or 0) * (image.whole("NumberOfFrames") or 1)
    header.LossyImageCompression = "01"
    header.LossyImageCompressionRatio = f"{pixels / max(image.size - (image.start or 0), 1):.4g}"
    header.LossyImageCompressionMethod = LOSSY[image.syntax]


def _items(header: Dataset, keyword: str) -> list[Dataset]:
    value = header.get(keyword)
    return list(value) if isinstance(value, Sequence) else []


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
