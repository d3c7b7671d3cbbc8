"""Make the header of a classic CT image of one frame of an Enhanced or Legacy Converted CT."""

from __future__ import annotations

from copy import deepcopy

from pydicom import Dataset
from pydicom.uid import CTImageStorage

from quietct.ct.dicom.images import GROUPS, PER_FRAME, SHARED

# More groups whose attributes a classic image has itself, beside those that the reader looks into.
FRAME_GROUPS = (
    *GROUPS, "FrameVOILUTSequence", "CTAcquisitionTypeSequence", "CTAcquisitionDetailsSequence",
    "CTTableDynamicsSequence", "CTPositionSequence", "CTGeometrySequence", "IrradiationEventIdentificationSequence",
)  # fmt: skip
# Attributes of files with several frames (PS3.3 C.7.6.16, C.7.6.17, C.8.15), and of groups that have a classic name.
NOT_CLASSIC = (
    SHARED, PER_FRAME, "NumberOfFrames", "DimensionOrganizationSequence", "DimensionOrganizationType",
    "DimensionIndexSequence", "ConcatenationUID", "ConcatenationFrameOffsetNumber", "InConcatenationNumber",
    "InConcatenationTotalNumber", "SOPInstanceUIDOfConcatenationSource", "RepresentativeFrameNumber",
    "SourceImageEvidenceSequence", "ReferencedImageEvidenceSequence", "PixelPresentation", "VolumetricProperties",
    "VolumeBasedCalculationTechnique", "FrameType", "StackID", "InStackPositionNumber", "DimensionIndexValues",
    "TemporalPositionIndex", "FrameReferenceDateTime",
)  # fmt: skip
CLASSIC_NAMES = {
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
    "FrameComments": "ImageComments",
}
# Attributes of another name and unit: (keyword, classic name, what to multiply with), as whole numbers.
CLASSIC_UNITS = (
    ("ExposureTimeInms", "ExposureTime", 1),
    ("XRayTubeCurrentInmA", "XRayTubeCurrent", 1),
    ("ExposureInmAs", "Exposure", 1),
    ("ExposureInmAs", "ExposureInuAs", 1000),
)
# A classic image must have them, if only empty (type 2 in PS3.3 A.3).
EXPECTED = (
    "AccessionNumber", "AcquisitionNumber", "KVP", "Manufacturer", "PatientBirthDate", "PatientID", "PatientName",
    "PatientSex", "PositionReferenceIndicator", "ReferringPhysicianName", "SliceThickness", "StudyDate", "StudyID",
    "StudyTime",
)  # fmt: skip


def single_frame(dataset: Dataset, frame: int) -> Dataset:
    """Describe one frame as a CT Image (PS3.3 A.3).

    Parameters
    ----------
    dataset : Dataset
        Header of the file, as `quietct.ct.dicom.transcoding.explicit_little_endian` gives it.
    frame : int
        Which frame, from 0.

    Returns
    -------
    Dataset
        With the attributes of the file and, above them, those of the groups of the frame, at the places of a classic
        image; private ones and ones about several frames left out. Nothing in it is shared with another frame.
    """
    single = Dataset()
    shared = (dataset.get(SHARED) or [Dataset()])[0]
    for level in (dataset, *_groups(shared), *_groups(dataset[PER_FRAME].value[frame])):
        for element in level.elements():
            single[element.tag] = element
    for keyword in NOT_CLASSIC:
        single.pop(keyword, None)
    single = deepcopy(single)  # sequences, too: who changes one frame leaves the others
    for keyword, classic in CLASSIC_NAMES.items():
        if keyword in single:
            setattr(single, classic, single[keyword].value)
            del single[keyword]
    for keyword, classic, factor in CLASSIC_UNITS:
        if single.get(keyword) is not None:
            setattr(single, classic, round(float(single[keyword].value) * factor))
    for keyword, _, _ in CLASSIC_UNITS:
        single.pop(keyword, None)
    for keyword in EXPECTED:
        if keyword not in single:
            setattr(single, keyword, None)
    single.SOPClassUID = CTImageStorage
    single.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    single.set_original_encoding(False, True, dataset.original_character_set)
    return single


def _groups(item: Dataset) -> list[Dataset]:
    return [group for keyword in FRAME_GROUPS for group in (item.get(keyword) or [])[:1]]
