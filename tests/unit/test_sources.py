import shutil
import subprocess
import zipfile

import numpy as np
import pydicom
import pytest
from dicom_files import write_series, write_slice
from pydicom.data import get_testdata_file
from pydicom.uid import SecondaryCaptureImageStorage

from quietct.ct.dicom.convert import convert_series
from quietct.ct.dicom.series import read_series
from quietct.ct.phantom import PIXEL_MM, scan_slice
from quietct.ct.projection import is_circular
from quietct.ct.sources import SOURCES, fetch_series
from quietct.ct.volume import open_volume, read_info
from quietct.errors import UserError


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def validator_errors(path):
    """What dciodvfy finds wrong with a CT image."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert "CTImage" in lines
    return [line for line in lines if line.startswith("Error")]


# The phantom


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan") / "dicom"
    fetch_series("phantom", None, folder, nodule_layout=1, exposure_mas=50, n_slices=3, slice_spacing_mm=2.5)
    return folder


def test_phantom_series_passes_the_dicom_validator(scan):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    for path in sorted(scan.iterdir()):
        assert validator_errors(path) == []


def test_phantom_series_is_consistent_for_the_dicom_validator(scan):
    if shutil.which("dcentvfy") is None:
        pytest.skip("dcentvfy is missing: apt-get install dicom3tools")
    done = subprocess.run(["dcentvfy", *map(str, sorted(scan.iterdir()))], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_phantom_survives_the_round_trip_through_dicom(scan, tmp_path):
    convert_series(scan, tmp_path / "v.npy", tmp_path / "v.json")
    volume, info = open_volume(tmp_path / "v.npy"), read_info(tmp_path / "v.json")
    assert volume.shape == (3, 512, 512)
    assert info["z_mm"] == [-2.5, 0.0, 2.5]
    assert info["spacing_mm"] == [PIXEL_MM, PIXEL_MM]
    assert (info["kvp"], info["exposure_mas"], info["slice_thickness_mm"]) == (120.0, 50.0, 2.5)
    for k, z in enumerate(info["z_mm"]):
        # What is stored are whole HU, and the lower limit of -1024 HU cuts the noise in air.
        assert np.array_equal(volume[k], np.maximum(np.rint(scan_slice(1, z, 2.5, 50, 1)), -1024))
    assert volume.min() == -1024
    assert all(is_circular(image) for image in volume)  # so that its noise can be simulated without a wider canvas


@pytest.mark.parametrize("infinite", [np.inf, "inf"])
def test_a_scan_without_noise_is_the_truth_and_names_no_exposure(scan, tmp_path, infinite):
    folder = tmp_path / "truth"
    fetch_series("phantom", None, folder, nodule_layout=1, exposure_mas=infinite, n_slices=1, slice_spacing_mm=2.5)
    convert_series(folder, tmp_path / "v.npy", tmp_path / "v.json")
    info = read_info(tmp_path / "v.json")
    assert info["exposure_mas"] is None
    assert (info["kvp"], info["slice_thickness_mm"]) == (120.0, 2.5)
    assert np.array_equal(open_volume(tmp_path / "v.npy")[0], np.rint(scan_slice(1, 0.0, 2.5, np.inf, 1)))
    ds, noisy = pydicom.dcmread(folder / "0001.dcm"), pydicom.dcmread(scan / "0002.dcm")
    assert ds.SeriesDescription == "Layout 1, no noise, 2.5 mm, repeat 1"
    assert noisy.SeriesDescription == "Layout 1, 50 mAs, 2.5 mm, repeat 1"
    assert noisy.Exposure == 50
    assert "Exposure" not in ds
    assert "ExposureInuAs" not in ds
    assert ds.SeriesInstanceUID != noisy.SeriesInstanceUID
    assert ds.SOPInstanceUID != noisy.SOPInstanceUID
    assert ds.FrameOfReferenceUID == noisy.FrameOfReferenceUID  # the same chest in the same place
    if shutil.which("dciodvfy"):
        assert validator_errors(folder / "0001.dcm") == []


def test_a_clipped_volume_is_the_whole_one_within_the_window(scan, tmp_path):
    convert_series(scan, tmp_path / "whole.npy", tmp_path / "whole.json")
    convert_series(scan, tmp_path / "clipped.npy", tmp_path / "clipped.json", clip_hu=(-160, 240))
    whole, clipped = (open_volume(tmp_path / name) for name in ("whole.npy", "clipped.npy"))
    assert whole.min() < -160
    assert whole.max() > 240
    np.testing.assert_array_equal(clipped, np.clip(whole, -160, 240))


def test_phantom_says_what_it_is_and_in_which_coordinates(scan):
    ds = pydicom.dcmread(scan / "0001.dcm")
    assert (ds.PatientName, ds.Modality, ds.file_meta.TransferSyntaxUID.is_little_endian) == (
        "Phantom^Layout1",
        "CT",
        True,
    )
    assert float(ds.ImagePositionPatient[0]) == pytest.approx(-255.5 * PIXEL_MM)  # centre of the first pixel
    assert ds.ImagePositionPatient[2] == ds.SliceLocation == -2.5


def test_same_scan_gives_the_same_bytes(scan, tmp_path):
    fetch_series(
        "phantom", None, tmp_path / "again", nodule_layout=1, exposure_mas=50.0, n_slices=3, slice_spacing_mm=2.5
    )
    assert contents(tmp_path / "again") == contents(scan)


def test_other_scans_have_other_identities_and_noise(scan, tmp_path):
    common = {"nodule_layout": 1, "exposure_mas": 50, "n_slices": 1, "slice_spacing_mm": 2.5}
    folders = [tmp_path / name for name in "abcd"]
    for folder, change in zip(folders, ({}, {"repeat": 2}, {"exposure_mas": 100}, {"nodule_layout": 2}), strict=True):
        fetch_series("phantom", None, folder, **(common | change))
    images = [pydicom.dcmread(folder / "0001.dcm") for folder in folders]
    assert len({ds.SeriesInstanceUID for ds in images}) == 4
    assert len({ds.SOPInstanceUID for ds in images}) == 4
    assert len({ds.StudyInstanceUID for ds in images}) == 2  # one for each chest
    assert len({ds.PixelData for ds in images}) == 4


def test_absent_cells_mean_the_defaults(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "quietct.ct.sources.phantom.scan_slice", lambda *a: (asked.append(a), np.zeros((512, 512), np.float32))[1]
    )
    nothing = dict.fromkeys(
        ["nodule_layout", "exposure_mas", "repeat", "n_slices", "slice_spacing_mm", "series_instance_uid"]
    )
    fetch_series("phantom", None, tmp_path / "d", **nothing)
    assert len(asked) == 24
    assert asked[0] == (1, -34.5, 3.0, 200.0, 1)
    assert asked[-1] == (1, 34.5, 3.0, 200.0, 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("exposure_mas", -5), ("exposure_mas", 0), ("exposure_mas", "lots"), ("exposure_mas", float("nan")),
        ("exposure_mas", float("-inf")), ("slice_spacing_mm", float("inf")), ("n_slices", "inf"),
        ("n_slices", 0), ("n_slices", 2.5), ("n_slices", 500), ("slice_spacing_mm", 0), ("slice_spacing_mm", -3),
        ("nodule_layout", -1), ("nodule_layout", "first"), ("repeat", 1.5),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_its_column(tmp_path, column, value):
    with pytest.raises(UserError, match=f"`{column}`"):
        fetch_series("phantom", None, tmp_path / "d", **{column: value})
    assert list(tmp_path.iterdir()) == []


# A directory or archive


def test_a_folder_with_all_sorts_of_things_gives_its_ct_series(tmp_path):
    given = tmp_path / "given"
    # Order of names is not order of positions.
    for name, z in (("b/z", 0.0), ("b/a", 6.0), ("c/IM 0001", 3.0)):
        write_slice(given / name, z, np.full((6, 4), 1024 + int(z), np.uint16))
    write_slice(given / "scout", SeriesInstanceUID="1.7", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_slice(given / "capture", SeriesInstanceUID="1.8", SOPClassUID=SecondaryCaptureImageStorage)
    shutil.copy(get_testdata_file("MR_small.dcm"), given / "mr.dcm")
    shutil.copy(get_testdata_file("DICOMDIR"), given / "DICOMDIR")
    (given / "readme.txt").write_text("read me")
    (given / "empty").write_bytes(b"")
    before = {path: path.read_bytes() for path in given.rglob("*") if path.is_file()}
    fetch_series("directory", str(given), tmp_path / "d")
    assert list(contents(tmp_path / "d").values()) == [before[given / n] for n in ("b/z", "c/IM 0001", "b/a")]
    assert list(contents(tmp_path / "d")) == ["0001.dcm", "0002.dcm", "0003.dcm"]
    assert {path: path.read_bytes() for path in given.rglob("*") if path.is_file()} == before


def test_several_series_are_listed_and_one_can_be_named(tmp_path):
    write_series(tmp_path / "given" / "a", SeriesInstanceUID="1.4", SeriesDescription="thin B60f")
    write_series(tmp_path / "given" / "b", (0.0, 5.0), SeriesInstanceUID="1.5")
    with pytest.raises(UserError) as caught:
        fetch_series("directory", str(tmp_path / "given"), tmp_path / "d")
    for words in ("1.4 (thin B60f, 3 slices)", "1.5 (no description, 2 slices)", "`series_instance_uid`", "given"):
        assert words in str(caught.value)
    assert not (tmp_path / "d").exists()
    fetch_series("directory", str(tmp_path / "given"), tmp_path / "d", series_instance_uid="1.5")
    assert {image.series for image in read_series(tmp_path / "d").images} == {"1.5"}
    with pytest.raises(UserError, match=r"does not contain series 1\.6"):
        fetch_series("directory", str(tmp_path / "given"), tmp_path / "e", series_instance_uid="1.6")


def zipped(path, folder, compression=zipfile.ZIP_DEFLATED, prefix=""):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + str(file.relative_to(folder)))
    return path


def test_an_archive_gives_the_same_files_as_its_folder(tmp_path):
    folder = write_series(tmp_path / "given")
    fetch_series("directory", str(folder), tmp_path / "a")
    fetch_series("directory", str(zipped(tmp_path / "given.zip", folder)), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_an_archive_cannot_write_outside_the_folder(tmp_path):
    archive = zipped(tmp_path / "evil.zip", write_series(tmp_path / "given"), prefix="../../escaped-")
    fetch_series("directory", str(archive), tmp_path / "x" / "y" / "d")
    assert sorted(contents(tmp_path / "x" / "y" / "d")) == ["0001.dcm", "0002.dcm", "0003.dcm"]
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize("damage", ["cut", "changed", "no zip"])
def test_a_broken_archive_is_named(tmp_path, damage):
    archive = zipped(tmp_path / "broken.zip", write_series(tmp_path / "given"), zipfile.ZIP_STORED)
    whole = bytearray(archive.read_bytes())
    if damage == "cut":
        whole = whole[: len(whole) // 2]
    elif damage == "changed":
        whole[whole.index(b"ORIGINAL")] ^= 1  # the checksum no longer fits
    else:
        whole = bytearray(b"hello")
    archive.write_bytes(whole)
    with pytest.raises(UserError, match=r"broken\.zip is not a readable \.zip"):
        fetch_series("directory", str(archive), tmp_path / "d")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("location", [None, "", "nowhere/at/all"])
def test_a_missing_location_is_said(tmp_path, location, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="location"):
        fetch_series("directory", location, tmp_path / "d")


def test_a_folder_without_ct_is_named(tmp_path):
    (tmp_path / "given").mkdir()
    shutil.copy(get_testdata_file("MR_small.dcm"), tmp_path / "given")
    with pytest.raises(UserError, match="given contains no CT images"):
        fetch_series("directory", str(tmp_path / "given"), tmp_path / "d")


def test_a_real_scanner_file_can_be_fetched_and_converted(tmp_path):
    (tmp_path / "given").mkdir()
    shutil.copy(get_testdata_file("CT_small.dcm"), tmp_path / "given")
    fetch_series("directory", str(tmp_path / "given"), tmp_path / "d")
    convert_series(tmp_path / "d", tmp_path / "v.npy", tmp_path / "v.json")
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    stored = ds.pixel_array
    kept = stored != ds.PixelPaddingValue
    expected = np.where(kept, stored * float(ds.RescaleSlope) + float(ds.RescaleIntercept), -1024)
    assert np.array_equal(open_volume(tmp_path / "v.npy")[0], expected)


# All sources


def test_an_unknown_source_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"'pacs'.*phantom, directory"):
        fetch_series("pacs", None, tmp_path / "d")


def test_a_series_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def breaks(dest, location, **selection):
        (dest / "0001.dcm").write_bytes(b"half")
        raise RuntimeError("power cut")

    monkeypatch.setitem(SOURCES, "breaks", breaks)
    with pytest.raises(RuntimeError, match="power cut"):
        fetch_series("breaks", None, tmp_path / "d")
    assert list(tmp_path.iterdir()) == []
