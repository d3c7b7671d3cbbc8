"""Every transfer syntax that CT comes in, written by tools that share no code with what reads it here.

dcmtk writes JPEG, JPEG-LS, RLE, deflated and big-endian files. It has no JPEG 2000 and no lossy JPEG-LS of signed
values; those are gdcmconv's.
"""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from dicom_files import images_of, make_slice
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import HTJ2KLossless

from quietct.ct.dicom import decoding
from quietct.ct.dicom.convert import convert_series
from quietct.errors import UserError

INSTALL = "{0} is not installed: apt-get install {1}"
PACKAGES = {"gdcmconv": "libgdcm-tools"}
# How stored values of 0..2047 become those of a scanner: (dtype, bits stored, factor, shift).
SCANNERS = {
    "unsigned-12": (np.uint16, 12, 1, 0),
    "signed-12": (np.int16, 12, 1, -1024),
    "unsigned-16": (np.uint16, 16, 32, 0),
    "signed-16": (np.int16, 16, 32, -32768),
}
LOSSLESS = {
    "implicit": ("1.2.840.10008.1.2", "dcmconv +ti"),
    "explicit, undefined lengths": ("1.2.840.10008.1.2.1", "dcmconv +te -e"),
    "deflated": ("1.2.840.10008.1.2.1.99", "dcmconv +td"),
    "big endian": ("1.2.840.10008.1.2.2", "dcmconv +tb"),
    "JPEG lossless": ("1.2.840.10008.1.2.4.57", "dcmcjpeg +el"),
    "JPEG lossless, predictor 1": ("1.2.840.10008.1.2.4.57", "dcmcjpeg +el +sv 1"),
    "JPEG lossless SV1": ("1.2.840.10008.1.2.4.70", "dcmcjpeg +e1"),
    "JPEG lossless SV1, in pieces, no offset table": ("1.2.840.10008.1.2.4.70", "dcmcjpeg +e1 +fs 2 -ot"),
    "JPEG lossless SV1 by GDCM": ("1.2.840.10008.1.2.4.70", "gdcmconv --jpeg"),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", "dcmcjpls +el"),
    "JPEG-LS, in pieces": ("1.2.840.10008.1.2.4.80", "dcmcjpls +el +fs 2"),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", "gdcmconv --j2k"),
    "RLE": ("1.2.840.10008.1.2.5", "dcmcrle"),
}


@pytest.fixture(scope="module")
def stored():
    """A slice of a real scanner, 0..2047."""
    return np.clip(dcmread(get_testdata_file("CT_small.dcm")).pixel_array, 0, 2047).astype(int)


@pytest.fixture
def original(tmp_path, stored):
    """Function that writes the slice uncompressed, as one of the scanners would, and gives its HU."""

    def write(scanner):
        dtype, bits, factor, shift = SCANNERS[scanner]
        values = (stored * factor + shift).astype(dtype)
        make_slice(
            0,
            values,
            BitsStored=bits,
            HighBit=bits - 1,
            RescaleSlope=1 / factor,
            RescaleIntercept=-1024 - shift / factor,
        ).save_as(tmp_path / "original.dcm", enforce_file_format=True)
        return stored - 1024

    return write


@pytest.fixture
def recode(tmp_path):
    """Function that runs a command line of a converter on the slice; the one file of the folder is its result."""

    def run(command, source="original.dcm", result="series/1.dcm"):
        tool, *options = command.split()
        if shutil.which(tool) is None:
            pytest.skip(INSTALL.format(tool, PACKAGES.get(tool, "dcmtk")))
        (tmp_path / result).parent.mkdir(exist_ok=True)
        files = [tmp_path / source, tmp_path / result]
        if tool == "gdcmconv":
            files = ["-i", files[0], "-o", files[1]]
        done = subprocess.run([tool, *options, *files], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return tmp_path / result

    return run


@pytest.fixture
def converted(tmp_path):
    """Function that converts the folder as the workflow does and gives the HU of its slice."""

    def convert():
        convert_series(tmp_path / "series", tmp_path / "v.npy", tmp_path / "v.json")
        volume = np.load(tmp_path / "v.npy")
        assert json.loads((tmp_path / "v.json").read_text())["shape"] == list(volume.shape)
        return volume[0].astype(int)

    return convert


def syntax_of(path):
    return str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_files_give_the_exact_hu(original, recode, converted, name, scanner):
    hu = original(scanner)
    syntax, command = LOSSLESS[name]
    assert syntax_of(recode(command)) == syntax
    assert np.array_equal(converted(), hu)


@pytest.mark.parametrize(
    ("scanner", "command"),
    [
        ("unsigned-12", "dcmcjpls +en +md 3"),
        ("unsigned-12", "gdcmconv --jpegls --lossy -e 3"),
        ("signed-12", "gdcmconv --jpegls --lossy -e 3"),
        ("unsigned-16", "dcmcjpls +en +md 96"),
    ],
)
def test_near_lossless_jpeg_ls_is_off_by_no_more_than_its_bound(original, recode, converted, scanner, command):
    hu = original(scanner)
    assert syntax_of(recode(command)) == "1.2.840.10008.1.2.4.81"
    error = np.abs(converted() - hu).max()
    assert 0 < error <= 3  # 96 stored values of 1/32 HU are 3 HU, too


@pytest.mark.parametrize("scanner", SCANNERS)
def test_lossy_jpeg_2000_is_close_and_as_another_decoder_has_it(original, recode, converted, scanner):
    hu = original(scanner)
    path = recode("gdcmconv --j2k --lossy --irreversible -r 8")
    assert syntax_of(path) == "1.2.840.10008.1.2.4.91"
    mine = converted()
    assert 0 < np.sqrt(np.mean((mine - hu) ** 2.0)) < 20
    ds = dcmread(path)
    ds.pixel_array_options(decoding_plugin="pillow")
    theirs = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    assert np.abs(mine - theirs).max() <= 1


@pytest.mark.parametrize("scanner", SCANNERS)
def test_lossy_jpeg_of_12_bits_is_close_and_as_dcmtk_decodes_it(original, recode, converted, scanner):
    hu = original(scanner)
    assert syntax_of(recode("dcmcjpeg +ee +q 95")) == "1.2.840.10008.1.2.4.51"
    mine = converted()
    assert 0 < np.sqrt(np.mean((mine - hu) ** 2.0)) < 10
    ds = dcmread(recode("dcmdjpeg", "series/1.dcm", "raw/1.dcm"))
    theirs = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    assert np.abs(mine - theirs).max() <= 0.5


def test_jpeg_of_8_bits_is_no_ct_and_is_refused_in_a_sentence(original, recode, converted):
    original("unsigned-12")
    assert syntax_of(recode("dcmcjpeg +eb")) == "1.2.840.10008.1.2.4.50"
    with pytest.raises(UserError, match=r"1\.dcm has 8 bits a pixel; a CT slice must have 16\."):
        converted()


def test_a_syntax_without_a_decoder_is_refused_with_what_to_do(original, recode, converted):
    original("unsigned-12")
    path = recode("gdcmconv --j2k")
    ds = dcmread(path)
    ds.file_meta.TransferSyntaxUID = HTJ2KLossless
    ds.save_as(path)
    with pytest.raises(UserError, match=r"1\.dcm .*High-Throughput JPEG 2000.* cannot be decoded.* Export "):
        converted()


@pytest.mark.parametrize("command", ["dcmcjpeg +e1", "dcmcjpls +el", "gdcmconv --j2k", "dcmcrle"])
def test_a_cut_off_compressed_file_is_refused(original, recode, converted, command):
    original("unsigned-12")
    path = recode(command)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UserError, match=r"1\.dcm"):
        converted()


def crashing(data):
    """JPEG-LS data whose frame says that it has no lines; GDCM ends the process that decodes them."""
    at = data.index(b"\xff\xd8\xff\xf7") + 4
    return data[:at] + b"\x00\x00\x11" + data[at + 3 :]


def test_a_crash_of_a_decoder_is_told_and_spoils_no_other_slice(tmp_path, original, recode, capfd):
    hu = original("unsigned-12")
    ds = dcmread(tmp_path / "original.dcm")
    for k, change in enumerate([bytes, crashing, bytes]):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k}"
        ds.ImagePositionPatient = [0, 0, 3 * k]
        ds.save_as(tmp_path / "original.dcm")
        path = recode("dcmcjpls +el", result=f"series/{k + 1}.dcm")
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=r"2\.dcm \(JPEG-LS Lossless Image Compression\) cannot be decoded"):
        convert_series(tmp_path / "series", tmp_path / "v.npy", tmp_path / "v.json")
    assert not (tmp_path / "v.npy").exists()
    convert_series(tmp_path / "series", tmp_path / "v.npy", tmp_path / "v.json", unusable="skip")
    assert np.array_equal(np.load(tmp_path / "v.npy"), [hu, hu])
    [skipped] = json.loads((tmp_path / "v.json").read_text())["skipped"]
    assert skipped["file"].endswith("2.dcm")
    assert capfd.readouterr().err == ""  # decoders' own texts go nowhere
    assert not multiprocessing.active_children()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is POSIX's")
def test_a_decoder_that_hangs_is_given_up_and_a_new_one_started(monkeypatch, tmp_path, original, recode):
    original("unsigned-12")
    recode("dcmcjpls +el")
    [image] = images_of(tmp_path / "series/1.dcm")
    options = {
        "rows": image.whole("Rows"), "columns": image.whole("Columns"), "bits_allocated": 16, "bits_stored": 12,
        "samples_per_pixel": 1, "photometric_interpretation": "MONOCHROME2", "number_of_frames": 1,
        "pixel_representation": 0, "pixel_keyword": "PixelData",
    }  # fmt: skip
    task = (image.file, image.start, image.syntax, 0, options)
    with decoding.DecodingProcess() as process:
        first = process.decode(*task)
        [child] = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGSTOP)
        monkeypatch.setattr(decoding, "SECONDS", 0.2)
        with pytest.raises(decoding.DecodingError):
            process.decode(*task)
        assert not child.is_alive()
        monkeypatch.setattr(decoding, "SECONDS", 60)
        assert np.array_equal(process.decode(*task), first)
    assert not multiprocessing.active_children()
