"""What the fuzz test needs: valid files of every kind, ways to damage them, and a process that reads the result."""

import io
import json
import os
import select
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import gdcm
import numpy as np
from dicom_files import make_slice
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import keyword_for_tag
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

SECONDS = 20  # no conversion of a few small slices takes as long
SECRETS = ("Zyxwvutov", "PID7734519", "19471103", "Wummelsbach")
ROWS, COLUMNS = 16, 12
UIDS = ("1.2.826.11111111", "1.2.826.222222222", "1.2.826.33333333333")
GDCM_SYNTAXES = {
    "jpeg": "1.2.840.10008.1.2.4.70",
    "jpeg_ls": "1.2.840.10008.1.2.4.80",
    "jpeg_2000": "1.2.840.10008.1.2.4.90",
}
NATIVE = ("explicit", "implicit", "big_endian")
# What may change the HU, the geometry, or which files are looked at; all else may not.
SENSITIVE = {
    "SOPClassUID", "SeriesInstanceUID", "SOPInstanceUID", "ImageType", "Rows", "Columns", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "PixelPaddingValue", "PixelData", "NumberOfFrames", "TransferSyntaxUID", "FileMetaInformationGroupLength",
}  # fmt: skip


def stored(k):
    return np.random.default_rng(k).integers(0, 2048, (ROWS, COLUMNS)).astype(np.uint16)


def slice_file(k, kind):
    """Bytes of slice `k` (0, 1, 2), encoded as `kind` says."""
    ds = make_slice(
        3.0 * k,
        stored(k),
        SOPInstanceUID=UIDS[k],
        BitsStored=12,
        HighBit=11,
        PatientName="Zyxwvutov^X",
        PatientID="PID7734519",
        PatientBirthDate="19471103",
        InstitutionName="Wummelsbach",
        SeriesDescription="Chest",
        KVP=120,
        Exposure=25,
        PixelPaddingValue=3000,
    )
    if kind == "rle":
        ds.compress(RLELossless, generate_instance_uid=False)
    elif kind == "big_endian":
        ds.PixelData = stored(k).astype(">u2").tobytes()
        ds["PixelData"].VR = "OW"
    syntaxes = {
        "implicit": ImplicitVRLittleEndian,
        "big_endian": ExplicitVRBigEndian,
        "deflated": DeflatedExplicitVRLittleEndian,
    }
    if kind in syntaxes:
        ds.file_meta.TransferSyntaxUID = syntaxes[kind]
    data = encoded(ds)
    return recoded(data, GDCM_SYNTAXES[kind]) if kind in GDCM_SYNTAXES else data


def encoded(ds):
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def recoded(data, syntax):
    """Compress by GDCM."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "x.dcm"))
        Path(path).write_bytes(data)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(path)
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(path)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return Path(path).read_bytes()


def enhanced_file():
    """All three slices as one Enhanced CT."""

    def item(**attributes):
        ds = Dataset()
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
        return ds

    ds = make_slice(0, stored(0), SOPClassUID=EnhancedCTImageStorage, SOPInstanceUID=UIDS[0], BitsStored=12, HighBit=11)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        del ds[keyword]
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "ConvolutionKernel"):
        del ds[keyword]
    ds.NumberOfFrames = 3
    ds.PatientName = "Zyxwvutov^X"
    shared = item(
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.7, 0.8], SliceThickness=3)]),
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
        CTReconstructionSequence=Sequence([item(ConvolutionKernel="B40f")]),
        CTImageFrameTypeSequence=Sequence([item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])]),
    )
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        [
            item(
                PlanePositionSequence=Sequence([item(ImagePositionPatient=[-100, -100, 3.0 * k])]),
                PixelValueTransformationSequence=Sequence(
                    [item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")]
                ),
            )
            for k in range(3)
        ]
    )
    ds.PixelData = b"".join(stored(k).tobytes() for k in range(3))
    ds["PixelData"].VR = "OW"
    return encoded(ds)


def zip_file():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for k in range(3):
            how = zipfile.ZIP_DEFLATED if k == 1 else zipfile.ZIP_STORED
            archive.writestr(f"scan/{k}.dcm", slice_file(k, "explicit"), how)
    return buffer.getvalue()


@dataclass(frozen=True)
class Element:
    """Where a data element lies in a file (bytes)."""

    keyword: str
    start: int
    length_at: int
    length_size: int
    value: int
    stop: int


def elements(data):
    """Find the data elements of a file, those in sequences too, the outer ones first."""
    ds = dcmread(io.BytesIO(data))
    implicit, little = ds.original_encoding
    found = []

    def add(dataset, implicit, little):
        for tag in sorted(dataset.keys()):
            element = dataset.get_item(tag)
            at = getattr(element, "value_tell", None) or element.file_tell
            vr = element.VR
            long = implicit or vr in ("OB", "OW", "SQ", "UN", "UT", "OF", "UC", "UR")
            size = 4 if long else 2
            order = "little" if little else "big"
            length = int.from_bytes(data[at - size : at], order)
            start = at - (12 if long and not implicit else 8)
            stop = len(data) if length == 0xFFFFFFFF else at + length
            found.append(Element(keyword_for_tag(tag), start, at - size, size, at, stop))
            if vr == "SQ":
                for part in dataset[tag].value:
                    add(part, implicit, little)

    add(ds.file_meta, False, True)
    if ds.file_meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        add(ds, implicit, little)
    return found


# A change is (first byte, byte after the last, what stands there instead), on the valid file.
@dataclass
class Damage:
    """Bytes of a damaged file and what was done to them."""

    data: bytes
    changes: list = field(default_factory=list)

    def only_in_values_of(self, elements, keywords):
        """Whether nothing but bytes of the values of some elements was exchanged, and no length changed."""
        spans = [(e.value, e.stop) for e in elements if e.keyword in keywords]
        return all(
            stop - start == len(new) and any(a <= start and stop <= b for a, b in spans)
            for start, stop, new in self.changes
        )


NASTY = [
    b"", b" ", b"nan", b"inf", b"-1", b"0", b"1e400", b"1e38", b"1\\2", b"0\\0\\0", b"99999999999999999999",
    b"\xff\xff", b"\x00\x00", b"\xff\x7f", b"\x00\x80", b"\xff\xff\xff\xff", b"\\\\\\", b"\x1b$B", b"1,5",
]  # fmt: skip
LENGTHS = [0, 1, 2, 3, 7, 8, 255, 4096, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]
places = st.integers(0, 2**20)
operations = st.one_of(
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("put"), places, st.binary(min_size=1, max_size=6)),
    st.tuples(st.just("cut"), places, st.none()),
    st.tuples(st.just("copy"), places, st.tuples(places, st.integers(1, 80))),
    st.tuples(st.just("drop"), places, st.integers(1, 80)),
    st.tuples(st.just("length"), places, st.sampled_from(LENGTHS)),
    st.tuples(st.just("remove"), places, st.none()),
    st.tuples(st.just("value"), places, st.one_of(st.sampled_from(NASTY), st.binary(max_size=24))),
    st.tuples(st.just("swap"), places, places),
)


def damaged(data, elements, steps, little=True):
    """Do what some `operations` say."""
    changes = []
    for name, place, what in steps:
        at = place % len(data)
        element = elements[place % len(elements)] if elements else None
        order = "little" if little or (element and element.keyword.startswith(("FileMeta", "MediaStorage"))) else "big"
        if name == "flip":
            changes.append((at, at + 1, bytes([data[at] ^ 1 << what])))
        elif name == "put":
            changes.append((at, min(at + len(what), len(data)), what[: len(data) - at]))
        elif name == "cut":
            changes.append((at, len(data), b""))
        elif name == "copy":
            start = what[0] % len(data)
            changes.append((at, at, data[start : start + what[1]]))
        elif name == "drop":
            changes.append((at, min(at + what, len(data)), b""))
        elif element is None:
            continue
        elif name == "length":
            new = (what % 256**element.length_size).to_bytes(element.length_size, order)
            changes.append((element.length_at, element.length_at + element.length_size, new))
        elif name == "remove":
            changes.append((element.start, element.stop, b""))
        elif name == "value":
            new = what + b" " * (len(what) % 2)
            head = len(new).to_bytes(element.length_size, order)
            changes.append(
                (
                    element.length_at,
                    element.stop,
                    head + data[element.length_at + element.length_size : element.value] + new,
                )
            )
        elif name == "swap":
            other = elements[what % len(elements)]
            changes.append((element.start, element.stop, data[other.start : other.stop]))
    kept, limit = [], len(data) + 1
    for start, stop, new in sorted(changes, key=lambda change: change[:2], reverse=True):
        if stop <= limit:  # of two that overlap, one is done
            kept.append((start, stop, new))
            limit = start
            data = data[:start] + new + data[stop:]
    return Damage(data, kept)


class Child:
    """A process that converts, watched from outside; a new one is started after each that died."""

    def __init__(self, log):
        self.log = log
        self.process = None

    def ask(self, task):
        """Give its answer; "died" or "hung" where it gave none."""
        if self.process is None:
            self.start()
        self.process.stdin.write(json.dumps(task).encode() + b"\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], SECONDS)[0]:
            self.stop()
            return {"end": "hung", "text": f"for {SECONDS} s"}
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.process = None
        return {"end": "died", "text": f"with status {status}; {self.log} has its last words"}

    def start(self):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("fuzz_child.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
