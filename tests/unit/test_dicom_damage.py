import gc
import resource
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from dicom_files import make_slice, write_series, write_slice
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from quietct.ct.dicom.convert import convert_series
from quietct.ct.dicom.series import read_series
from quietct.ct.sources import fetch_series
from quietct.errors import UserError


@pytest.fixture
def convert(tmp_path):
    return lambda folder: convert_series(folder, tmp_path / "out" / "v.npy", tmp_path / "out" / "v.json")


def test_truncated_pixels_are_refused_and_nothing_is_left(tmp_path, convert):
    folder = write_series(tmp_path / "d")
    whole = (folder / "1.dcm").read_bytes()
    (folder / "1.dcm").write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"1\.dcm are incomplete"):
        convert(folder)
    assert not (tmp_path / "out").exists()


def test_a_file_cut_before_its_pixels_is_refused(tmp_path, convert):
    folder = write_series(tmp_path / "d")
    whole = (folder / "1.dcm").read_bytes()
    (folder / "1.dcm").write_bytes(whole[: whole.index(struct.pack("<HH", 0x7FE0, 0x0010))])
    with pytest.raises(UserError, match=r"1\.dcm has no pixel data"):
        convert(folder)


@pytest.mark.parametrize("fraction", [0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_a_file_cut_anywhere_in_its_header_ends_in_a_sentence(tmp_path, convert, fraction):
    folder = write_series(tmp_path / "d", (0.0, 3.0))
    whole = (folder / "1.dcm").read_bytes()
    (folder / "1.dcm").write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(UserError):
        convert(folder)


def test_undecodable_compression_is_refused_with_its_name(tmp_path, convert):
    ds = make_slice()
    ds.file_meta.TransferSyntaxUID = JPEGLSLossless
    ds.PixelData = encapsulate([b"\xff\xd8garbage\xff\xd9"])
    ds["PixelData"].VR = "OB"
    (tmp_path / "d").mkdir()
    ds.save_as(tmp_path / "d" / "a.dcm", enforce_file_format=True)
    with pytest.raises(UserError, match=r"a\.dcm \(JPEG-LS Lossless.*\) cannot be decoded"):
        convert(tmp_path / "d")


def peak_bytes(function):
    tracemalloc.start()
    try:
        function()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def refused(function, words):
    with pytest.raises(UserError, match=words):
        function()


def test_a_lost_end_of_compressed_pixels_is_noticed_before_decoding(tmp_path, convert):
    ds = make_slice(0, np.random.default_rng(1).integers(0, 4000, (64, 64)).astype(np.uint16))
    ds.compress(RLELossless, generate_instance_uid=False)
    (tmp_path / "d").mkdir()
    ds.save_as(tmp_path / "d" / "a.dcm", enforce_file_format=True)
    whole = (tmp_path / "d" / "a.dcm").read_bytes()
    (tmp_path / "d" / "a.dcm").write_bytes(whole[:-100])
    refused(lambda: convert(tmp_path / "d"), r"a\.dcm are incomplete")


def test_more_pixels_than_rows_and_columns_say_are_refused(tmp_path):
    write_slice(tmp_path / "a.dcm", 0, np.zeros((6, 4), np.uint16), Rows=3)
    refused(lambda: read_series(tmp_path), r"48 bytes of pixels, but 3 x 4 of them need 24")


@pytest.mark.parametrize(("rows", "columns"), [(65535, 65535), (0, 4), (16385, 1)])
def test_an_impossible_size_is_refused_before_anything_is_reserved(tmp_path, rows, columns):
    write_slice(tmp_path / "a.dcm", Rows=rows, Columns=columns)
    assert peak_bytes(lambda: refused(lambda: read_series(tmp_path), f"{rows} x {columns} pixels")) < 4 << 20


def test_an_attribute_that_claims_to_be_huge_reserves_nothing(tmp_path):
    path = write_slice(tmp_path / "a.dcm")
    whole = path.read_bytes()
    at = whole.index(struct.pack("<HH", 0x0028, 0x0010))
    # (0028,0009), unknown, with a length of almost 4 GB
    path.write_bytes(whole[:at] + struct.pack("<HH2sHL", 0x0028, 0x0009, b"UN", 0, 0xFFFFFFF0) + whole[at:])
    assert peak_bytes(lambda: refused(lambda: read_series(tmp_path), r"a\.dcm")) < 4 << 20
    # The same in a sequence that is read.
    table = struct.pack("<HH2sHL", 0x0028, 0x3000, b"SQ", 0, 0xFFFFFFF0)
    path.write_bytes(whole[:at] + table + whole[at:])
    assert peak_bytes(lambda: refused(lambda: read_series(tmp_path), r"a\.dcm")) < 4 << 20


def test_a_deflated_file_that_inflates_without_end_is_refused(tmp_path):
    ds = make_slice(0, np.zeros((512, 512), np.uint16))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    whole = (tmp_path / "a.dcm").read_bytes()
    meta = 132 + 12 + struct.unpack("<L", whole[140:144])[0]
    inflated = zlib.decompress(whole[meta:], -15)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(inflated) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
    (tmp_path / "a.dcm").write_bytes(whole[:meta] + packed)
    assert len(packed) < 1 << 20
    del inflated, ds
    assert peak_bytes(lambda: refused(lambda: read_series(tmp_path), r"a\.dcm would inflate to more than 64 MB")) < (
        150 << 20
    )


def test_a_deflated_file_that_is_cut_is_refused(tmp_path):
    ds = make_slice(0, np.random.default_rng(1).integers(0, 4000, (64, 64)).astype(np.uint16))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    whole = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:-500])
    refused(lambda: read_series(tmp_path), r"a\.dcm are incomplete")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x", "w", force_zip64=True) as file,
    ):
        for _ in range(1030):
            file.write(bytes(1 << 20))
    assert (tmp_path / "a.zip").stat().st_size < 2 << 20
    refused(
        lambda: fetch_series("directory", str(tmp_path / "a.zip"), tmp_path / "d"), r"a\.zip would unpack to more than"
    )


def test_dicom_without_its_mark_is_said(tmp_path):
    path = write_slice(tmp_path / "a.dcm")
    whole = path.read_bytes()
    for start in (132, 132 + 12 + struct.unpack("<L", whole[140:144])[0]):  # with and without file meta information
        path.write_bytes(whole[start:])
        refused(lambda: read_series(tmp_path), r"a\.dcm looks like DICOM, but lacks the mark `DICM`")


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("RescaleSlope", "123456789", "no rescale slope"),
        ("RescaleIntercept", "123456789", "no rescale slope"),
        ("PixelSpacing", ["123456789", "1"], "no valid PixelSpacing"),
        ("ImagePositionPatient", ["0", "123456789", "0"], "no valid ImagePositionPatient"),
        ("ImageOrientationPatient", ["1", "0", "0", "0", "1", "123456789"], "no valid ImageOrientationPatient"),
    ],
)
@pytest.mark.parametrize("text", [b"MeierAnna", b"nan      ", b"inf      ", b"         "])
def test_numbers_that_are_none_are_refused_without_being_quoted(tmp_path, keyword, value, words, text):
    path = write_slice(tmp_path / "a.dcm", **{keyword: value})
    whole = path.read_bytes()
    assert whole.count(b"123456789") == 1
    path.write_bytes(whole.replace(b"123456789", text))
    with pytest.raises(UserError, match=f"{words}|{keyword} that cannot be read") as caught:
        read_series(tmp_path)
    assert "Meier" not in str(caught.value)


def test_nothing_is_left_open(tmp_path):
    write_series(tmp_path, [float(k) for k in range(30)])
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()
    resource.setrlimit(resource.RLIMIT_NOFILE, (30, limit[1]))
    try:
        assert len(read_series(tmp_path).images) == 30
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
