"""Derived series before outside judges: dicom3tools, dcmtk and pydicom's decoding.

The exit status of the validators says little; their lines that begin with "Error" do. A derived file may have those of
its source, and no other.
"""

import shutil
import subprocess
from pathlib import Path

import data_store
import numpy as np
import pydicom.data
import pytest
from derived_series import derive, hu_of, smoothed
from dicom_files import item, make_enhanced, make_slice, write_slice
from pydicom import dcmread
from pydicom.data import get_testdata_file

from quietct.ct.sources import fetch_series

PACKAGES = {"dciodvfy": "dicom3tools", "dcentvfy": "dicom3tools", "gdcmconv": "libgdcm-tools"}
SHIPPED = Path(pydicom.data.__file__).parent / "test_files"
LARGE = Path(data_store.__file__).parent / "data"
REAL = {
    "CT_small": SHIPPED / "CT_small.dcm",
    "explicit_VR-UN": LARGE / "explicit_VR-UN.dcm",
    "J2K_pixelrep_mismatch": SHIPPED / "J2K_pixelrep_mismatch.dcm",
    "medium": SHIPPED / "dicomdirtests/98892001/CT5N/2062",
    "693_UNCI": LARGE / "693_UNCI.dcm",
    "693_UNCR": LARGE / "693_UNCR.dcm",
    "693_J2KR": LARGE / "693_J2KR.dcm",
    "693_J2KI": SHIPPED / "693_J2KI.dcm",
}
COMPRESSED = {
    "implicit": "dcmconv +ti",
    "deflated": "dcmconv +td",
    "big endian": "dcmconv +tb",
    "JPEG lossless": "dcmcjpeg +e1",
    "JPEG-LS": "dcmcjpls +el",
    "JPEG 2000": "gdcmconv --j2k",
    "RLE": "dcmcrle",
}
LOSSY = {
    "JPEG of 12 bits": ("dcmcjpeg +ee +q 95", "ISO_10918_1"),
    "JPEG-LS": ("dcmcjpls +en +md 3", "ISO_14495_1"),
    "JPEG 2000": ("gdcmconv --j2k --lossy --irreversible -r 8", "ISO_15444_1"),
}


def run(tool, *arguments):
    """What a tool prints; the test is skipped where it is missing."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is missing: apt-get install {PACKAGES.get(tool, 'dcmtk')}")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def errors(path):
    """What dciodvfy finds wrong."""
    lines = run("dciodvfy", path)[1].splitlines()
    assert any(line in ("CTImage", "EnhancedCTImage") for line in lines), lines
    return {line for line in lines if line.startswith("Error")}


def inconsistencies(paths):
    return set(run("dcentvfy", *paths)[1].splitlines())


def convert(command, source, target):
    tool, *options = command.split()
    target.parent.mkdir(exist_ok=True)
    files = ["-i", source, "-o", target] if tool == "gdcmconv" else [source, target]
    status, said = run(tool, *options, *files)
    assert status == 0, said
    return target


def check(sources, results, tmp_path, accepted=()):
    """All judges on all files: no complaint but those about the sources, and those that are accepted."""
    known = set(accepted).union(*(errors(path) for path in sources))
    for path in results:
        assert errors(path) <= known
        status, said = run("dcmdump", "+P", "0008,103e", path)
        assert status == 0, said
        assert "research use, not for diagnosis" in said
        status, said = run("dcm2pnm", "--min-max-window", path, tmp_path / "picture.pgm")
        assert status == 0, said
        status, said = run("dcmftest", path)
        assert said.startswith("yes:"), said
    assert inconsistencies(results) <= inconsistencies(sources)


def check_hu(source, result):
    """Every pixel has the new HU within rounding, or is padding, or of the one value around a round image."""
    old, new = dcmread(source), dcmread(result)
    stored, padding = old.pixel_array, old.get("PixelPaddingValue")
    slope, intercept = float(new.RescaleSlope), float(new.RescaleIntercept)
    wanted = smoothed(np.where(stored == padding, -1024, hu_of(old)).astype(np.float32))
    off = np.abs(hu_of(new) - wanted) / slope
    same = new.pixel_array == stored
    assert np.all(same[stored == padding])
    assert not np.any((new.pixel_array == padding) & (stored != padding))
    beside = np.rint((wanted - intercept) / slope) == padding  # what would look like padding
    corner = np.isin(stored, stored[[0, 0, -1, -1], [0, -1, 0, -1]])
    assert np.all((off <= np.where(beside, 1.51, 0.51)) | (same & (corner | (stored == padding))))
    assert same.mean() < 0.9


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "dicom"
    fetch_series("phantom", None, folder, nodule_layout=1, exposure_mas=float("inf"), n_slices=2)
    return folder


@pytest.mark.parametrize("deidentify", [False, True])
def test_a_series_of_the_phantom_passes_without_any_error(phantom, tmp_path, deidentify):
    results = derive(phantom, tmp_path / "o", deidentify=deidentify)
    sources = sorted(phantom.iterdir())
    check(sources, results, tmp_path)
    assert not errors(results[0])
    assert not inconsistencies(results)
    for source, result in zip(sources, results, strict=True):
        check_hu(source, result)
        old, new = dcmread(source).pixel_array, dcmread(result).pixel_array
        rows, columns = np.mgrid[:512, :512] - 255.5
        outside = rows**2 + columns**2 > 256**2
        assert np.array_equal(new[outside], old[outside])


@pytest.mark.parametrize("deidentify", [False, True])
@pytest.mark.parametrize("name", REAL)
def test_a_real_file_gets_no_error_that_it_did_not_have(tmp_path, name, deidentify):
    (tmp_path / "d").mkdir()
    source = Path(shutil.copy(REAL[name], tmp_path / "d/1.dcm"))
    results = derive(tmp_path / "d", tmp_path / "o", deidentify=deidentify)
    # Its patient is called like the body part, which therefore goes. Now it might be a left one or a right one.
    lost = "Error - Missing attribute Type 2C Conditional Element=<Laterality> Module=<GeneralSeries>"
    check([source], results, tmp_path, [lost] if deidentify and name == "explicit_VR-UN" else [])
    check_hu(source, results[0])
    assert dcmread(results[0]).file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_compressed_series_gives_the_pixels_of_the_uncompressed_one(tmp_path, name):
    (tmp_path / "d").mkdir()
    source = Path(shutil.copy(get_testdata_file("CT_small.dcm"), tmp_path / "d/1.dcm"))
    [expected] = derive(tmp_path / "d", tmp_path / "o")
    convert(COMPRESSED[name], source, tmp_path / "e/1.dcm")
    [result] = derive(tmp_path / "e", tmp_path / "p")
    check([source], [result], tmp_path)  # dciodvfy cannot read deflated files
    assert np.array_equal(dcmread(result).pixel_array, dcmread(expected).pixel_array)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_compression_stays_on_record_even_if_only_the_encoding_tells_of_it(tmp_path, name, told):
    command, method = LOSSY[name]
    stored = np.clip(dcmread(get_testdata_file("CT_small.dcm")).pixel_array, 0, 2047).astype(np.uint16)
    plain = write_slice(tmp_path / "s/1.dcm", 0, stored, BitsStored=12, HighBit=11)
    encoded = convert(command, plain, tmp_path / "d/1.dcm")
    ds = dcmread(encoded)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if not told:
            ds.pop(keyword, None)
    if not told:
        ds.save_as(encoded)
    [result] = derive(tmp_path / "d", tmp_path / "o")
    new = dcmread(result)
    assert new.LossyImageCompression == "01"
    if not told or "LossyImageCompressionMethod" in ds:
        assert new.LossyImageCompressionMethod == method
        assert 1 < float(new.LossyImageCompressionRatio) < 20
    assert errors(result) <= errors(plain) | errors(encoded)


def test_frames_become_classic_images_without_any_error(tmp_path):
    frames = [(3.0 * k, np.random.default_rng(k).integers(0, 4000, (32, 32)).astype(np.uint16), {}) for k in range(3)]
    ds = make_enhanced(
        frames,
        {"FrameVOILUTSequence": item(WindowCenter=40, WindowWidth=400)},
        FrameOfReferenceUID="1.2.9",
        PatientPosition="HFS",
        BodyPartExamined="CHEST",
    )
    (tmp_path / "d").mkdir()
    ds.save_as(tmp_path / "d/1.dcm", enforce_file_format=True)
    results = derive(tmp_path / "d", tmp_path / "o")
    assert len(results) == 3
    for path in results:
        assert not errors(path)
    check([tmp_path / "d/1.dcm"], results, tmp_path)


def test_odd_headers_get_no_error_that_they_did_not_have(tmp_path):
    for k in range(3):
        ds = make_slice(
            3.0 * k,
            np.random.default_rng(k).integers(0, 4000, (32, 32)).astype(np.uint16),
            FrameOfReferenceUID="1.2.9",
            ImageType=["ORIGINAL", "PRIMARY"],
            SeriesNumber="",
            InstanceNumber=None,
            PatientName="",
            SeriesDescription="x" * 64,
            AcquisitionTime="",
            DerivationDescription="d" * 1024,
            PixelPaddingValue=5 + k,
            RescaleSlope=0.5 + k,
            ContributingEquipmentSequence=[],
            SourceImageSequence=item(ReferencedSOPInstanceUID="1.2.8"),
        )
        ds["PixelPaddingValue"].VR = "US"
        ds.private_block(0x0029, "MAKER", create=True).add_new(1, "LO", "noise index 12.5")
        (tmp_path / "d").mkdir(exist_ok=True)
        ds.save_as(tmp_path / "d" / f"{k}.dcm", enforce_file_format=True)
    sources = sorted((tmp_path / "d").iterdir())
    results = derive(tmp_path / "d", tmp_path / "o")
    check(sources, results, tmp_path)
    for source, result in zip(sources, results, strict=True):
        check_hu(source, result)
