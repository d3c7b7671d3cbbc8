"""Small CT files for the tests, each attribute as the test wants it."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from quietct.ct.dicom import pixels
from quietct.ct.dicom.checks import check_image
from quietct.ct.dicom.decoding import DecodingProcess
from quietct.ct.dicom.images import read_images

SERIES = "1.2.3.4"


def make_slice(z=0.0, stored=None, **attributes):
    """A valid 6 x 4 CT image at height `z`; attributes given as None are left out."""
    if stored is None:
        stored = np.arange(24, dtype=np.uint16).reshape(6, 4) + 1000
    stored = np.asarray(stored)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = attributes.get("SOPClassUID", CTImageStorage)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": SERIES,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Modality": "CT",
        "InstanceNumber": 1,
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1 if stored.dtype.kind == "i" else 0,
        "PixelSpacing": [0.7, 0.8],
        "ImagePositionPatient": [-100.0, -100.0, z],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "SliceThickness": 3,
        "ConvolutionKernel": "B40f",
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "RescaleType": "HU",
    } | attributes
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    if attributes.get("PixelData", b"") is not None:
        ds.PixelData = stored.tobytes()
        ds["PixelData"].VR = "OW"
    return ds


def write_slice(path, z=0.0, stored=None, **attributes):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    make_slice(z, stored, **attributes).save_as(path, enforce_file_format=True)
    return path


def write_series(folder, heights=(0.0, 3.0, 6.0), **attributes):
    """Slices whose values tell their height: HU = z everywhere."""
    for k, z in enumerate(heights):
        write_slice(Path(folder) / f"{k}.dcm", z, np.full((6, 4), 1024 + round(z), np.uint16), **attributes)
    return Path(folder)


def item(**attributes):
    """A sequence of one item."""
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return Sequence([ds])


FRAME_TYPE = {
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
}


def make_enhanced(frames, shared=None, **attributes):
    """An Enhanced CT of (z, stored values, groups of its own) per frame; `shared` groups beside the usual ones."""
    ds = make_slice(0, frames[0][1], SOPClassUID=EnhancedCTImageStorage, **attributes)
    for keyword in (
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "ConvolutionKernel",
        "RescaleSlope", "RescaleIntercept", "RescaleType",
    ):  # fmt: skip
        if keyword in ds:
            del ds[keyword]
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.ImageType = kind
    for keyword, value in FRAME_TYPE.items():
        setattr(ds, keyword, value)
    ds.NumberOfFrames = len(frames)
    ds.PixelData = b"".join(np.ascontiguousarray(stored).tobytes() for _, stored, _ in frames)
    groups = {
        "PixelMeasuresSequence": item(PixelSpacing=[0.7, 0.8], SliceThickness=3),
        "PlaneOrientationSequence": item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        "PixelValueTransformationSequence": item(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU"),
        "CTImageFrameTypeSequence": item(FrameType=kind, **FRAME_TYPE),
        "CTReconstructionSequence": item(ConvolutionKernel="B40f"),
        "CTXRayDetailsSequence": item(KVP=120),
    } | (shared or {})
    ds.SharedFunctionalGroupsSequence = item(**{name: group for name, group in groups.items() if group is not None})
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        item(
            **{
                "FrameContentSequence": item(FrameAcquisitionNumber=1, StackID="1", InStackPositionNumber=k + 1),
                "PlanePositionSequence": item(ImagePositionPatient=[-100, -100, z]),
                "CTExposureSequence": item(ExposureInmAs=25.0 + k),
            }
            | own
        )[0]
        for k, (z, _, own) in enumerate(frames)
    )
    return ds


def images_of(path):
    """What a file holds, as the package reads it."""
    path = Path(path)
    with path.open("rb") as file:
        return read_images(file, path.stat().st_size, str(path))


def read_slice(path, frame=0):
    """HU and padding of one slice of a file."""
    image = images_of(path)[frame]
    check_image(image)
    with pixels.opened(image) as file, DecodingProcess() as process:
        return pixels.read_slice(image, file, process)
