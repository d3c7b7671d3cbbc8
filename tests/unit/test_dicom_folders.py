"""Which slices are taken from folders as one finds them, and what is said of the rest."""

import json
import logging

import numpy as np
import pytest
from dicom_files import make_slice, write_series, write_slice
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.uid import (
    JPEGLSLossless,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from quietct.ct.dicom.convert import convert_series
from quietct.ct.dicom.series import read_series
from quietct.ct.sources import fetch_series
from quietct.errors import UserError

MPR = ["DERIVED", "SECONDARY", "MPR"]
CORONAL = [1, 0, 0, 0, 0, -1]


def converted(folder, tmp_path, **options):
    convert_series(folder, tmp_path / "v.npy", tmp_path / "v.json", **options)
    return np.load(tmp_path / "v.npy"), json.loads((tmp_path / "v.json").read_text())


def heights(folder, **options):
    return [image.position for image in read_series(folder, **options).images]


# What is no slice


@pytest.mark.parametrize("series", ["1.2.3.4", "1.9"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "3D"]},
        {"ImageType": MPR, "ImageOrientationPatient": CORONAL},
        {"ImageType": ["DERIVED", "PRIMARY", "OTHER", "CSA MPR"], "ImageOrientationPatient": CORONAL},
        {"SOPClassUID": SecondaryCaptureImageStorage},
        {"SOPClassUID": SegmentationStorage, "Modality": "SEG"},
        {"SOPClassUID": RTStructureSetStorage, "Modality": "RTSTRUCT"},
        {"SOPClassUID": MRImageStorage, "Modality": "MR"},
        {"SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": "PT"},
    ],
)
def test_what_lies_beside_the_slices_is_left_out(tmp_path, series, attributes):
    write_series(tmp_path)
    write_slice(tmp_path / "x" / "other.dcm", 1.0, SeriesInstanceUID=series, **attributes)
    assert heights(tmp_path) == [0.0, 3.0, 6.0]


def test_a_reformatted_series_is_read_where_it_is_alone_or_named(tmp_path):
    write_series(tmp_path / "mpr", SeriesInstanceUID="1.9", ImageType=MPR)
    assert heights(tmp_path / "mpr") == [0.0, 3.0, 6.0]
    write_series(tmp_path / "axial", (0.0, 1.0))
    assert heights(tmp_path) == [0.0, 1.0]
    assert heights(tmp_path, series_instance_uid="1.9") == [0.0, 3.0, 6.0]


def test_maximum_projections_alone_are_no_ct_images(tmp_path):
    write_series(tmp_path, ImageType=["DERIVED", "SECONDARY", "MIP"])
    with pytest.raises(UserError, match=r"contains no CT images \(3 other DICOM objects, 0 other files\)"):
        read_series(tmp_path)


def test_original_images_may_have_any_words_of_their_maker(tmp_path):
    assert len(heights(write_series(tmp_path, ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 MIP"]))) == 3


def test_two_orientations_in_a_series_are_refused_with_how_many_of_each(tmp_path):
    write_series(tmp_path)
    write_slice(tmp_path / "odd", 1.0, ImageOrientationPatient=CORONAL)
    with pytest.raises(UserError, match=r"orientation is .* in 3 of them, such as .*0\.dcm, and another in 1, .*odd"):
        read_series(tmp_path)


# Duplicates, acquisitions, gaps


def test_one_uid_for_different_slices_is_refused(tmp_path):
    write_series(tmp_path, SOPInstanceUID="1.5")
    with pytest.raises(UserError, match=r"different slices with one SOPInstanceUID"):
        read_series(tmp_path)


def test_slices_of_two_acquisitions_need_a_choice(tmp_path):
    for number in (1, 2):
        write_series(tmp_path / str(number), AcquisitionNumber=number, Exposure=10 * number)
    with pytest.raises(UserError, match=r"same position.* acquisitions 1 \(3 slices\), 2 \(3 slices\).*`acquisition_n"):
        read_series(tmp_path)
    _, info = converted(tmp_path, tmp_path, acquisition_number=2)
    assert (info["z_mm"], info["exposure_mas"]) == ([0.0, 3.0, 6.0], 20.0)
    with pytest.raises(UserError, match=r"no slice of acquisition 7 .*its acquisitions are 1, 2"):
        read_series(tmp_path, acquisition_number=7)


def test_acquisitions_that_interlace_need_a_choice(tmp_path):
    write_series(tmp_path / "1", (0.0, 3.0, 6.0, 9.0), AcquisitionNumber=1)
    write_series(tmp_path / "2", (0.1, 3.1, 6.1, 9.1), AcquisitionNumber=2)
    with pytest.raises(UserError, match="`acquisition_number`"):
        read_series(tmp_path)


def test_one_acquisition_a_slice_is_nothing_to_choose(tmp_path):
    for k in range(4):
        write_slice(tmp_path / str(k), 3.0 * (k if k < 3 else 5), AcquisitionNumber=k)
    with pytest.raises(UserError, match=r"missing between 6\.00 mm .*Fetch the series again"):
        read_series(tmp_path)


def test_uneven_steps_are_warned_of_and_told(tmp_path, caplog):
    write_series(tmp_path / "d", (0.0, 3.0, 6.5, 9.0))
    with caplog.at_level(logging.WARNING):
        _, info = converted(tmp_path / "d", tmp_path)
    assert "not evenly spaced: steps of 2.500 to 3.500 mm" in caplog.text
    assert info["step_mm"] == [2.5, 3.0, 3.5]


def test_a_tilted_gantry_is_told_and_slices_are_read(tmp_path, caplog):
    c, s = np.cos(np.radians(15)), np.sin(np.radians(15))
    for k in range(4):  # the table moves along z, the slices lean
        write_slice(
            tmp_path / "d" / str(k), 0, np.full((2, 2), 1024 + k, np.uint16),
            ImageOrientationPatient=[1, 0, 0, 0, round(c, 6), round(s, 6)], ImagePositionPatient=[0, 0, 5.0 * k],
        )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        volume, info = converted(tmp_path / "d", tmp_path)
    assert volume[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert info["gantry_tilt_deg"] == pytest.approx(15, abs=0.01)
    assert np.diff(info["z_mm"]) == pytest.approx(5 * c, abs=1e-4)
    assert "tilted gantry" in caplog.text


def test_a_straight_gantry_and_a_single_slice_have_no_tilt(tmp_path, caplog):
    assert converted(write_series(tmp_path / "a"), tmp_path)[1]["gantry_tilt_deg"] == 0.0
    assert converted(write_series(tmp_path / "b", (1.0,)), tmp_path)[1]["gantry_tilt_deg"] is None
    assert "gantry" not in caplog.text


# Strict or skip


def spoilt_series(folder):
    """Five slices; the third is cut off, the fourth has no scale."""
    write_series(folder, (0.0, 3.0, 6.0, 9.0, 12.0))
    (folder / "2.dcm").write_bytes((folder / "2.dcm").read_bytes()[:-20])
    write_slice(folder / "3.dcm", 9.0, RescaleSlope=None)
    (folder / "9.dcm").write_bytes((folder / "1.dcm").read_bytes()[:170])  # damaged in its first lines
    return folder


def test_strict_stops_at_the_first_unusable_file(tmp_path):
    with pytest.raises(UserError, match=r"9\.dcm is a damaged DICOM file"):
        read_series(spoilt_series(tmp_path))


def test_skip_goes_on_and_lists_what_it_left_out(tmp_path, caplog):
    folder = spoilt_series(tmp_path / "d")
    with caplog.at_level(logging.WARNING):
        volume, info = converted(folder, tmp_path, unusable="skip")
    assert info["z_mm"] == [0.0, 3.0, 12.0]
    assert volume[:, 0, 0].tolist() == [0, 3, 12]
    reasons = {entry["file"].rsplit("/")[-1]: entry["reason"] for entry in info["skipped"]}
    assert set(reasons) == {"2.dcm", "3.dcm", "9.dcm"}
    assert "incomplete" in reasons["2.dcm"]
    assert "rescale" in reasons["3.dcm"]
    assert "Slices are missing between 3.00 mm" in caplog.text
    for reason in reasons.values():
        assert reason in caplog.text


def test_skip_leaves_out_what_cannot_be_decoded(tmp_path):
    folder = write_series(tmp_path / "d", (0.0, 3.0, 6.0))
    ds = make_slice(3.0)
    ds.file_meta.TransferSyntaxUID = JPEGLSLossless
    ds.PixelData = encapsulate([b"\xff\xd8garbage\xff\xd9"])
    ds["PixelData"].VR = "OB"
    ds.save_as(folder / "1.dcm", enforce_file_format=True)
    with pytest.raises(UserError, match=r"1\.dcm .*cannot be decoded"):
        converted(folder, tmp_path)
    volume, info = converted(folder, tmp_path, unusable="skip")
    assert (len(volume), info["z_mm"]) == (2, [0.0, 6.0])
    assert "cannot be decoded" in info["skipped"][0]["reason"]
    assert converted(folder, tmp_path, unusable="skip", n_slices=2)[1]["z_mm"] == [0.0, 6.0]


def test_nothing_usable_is_an_error_also_when_skipping(tmp_path):
    write_series(tmp_path, RescaleSlope=None)
    with pytest.raises(UserError, match=r"no usable slice of the series: .* no rescale slope"):
        read_series(tmp_path, unusable="skip")


def test_another_choice_than_strict_or_skip_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"'sometimes'; it must be strict or skip"):
        read_series(write_series(tmp_path), unusable="sometimes")


def test_an_unusable_file_of_another_series_does_no_harm(tmp_path):
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", SeriesInstanceUID="1.9", RescaleSlope=None)
    assert heights(tmp_path, series_instance_uid="1.2.3.4") == [0.0, 3.0, 6.0]


def test_the_source_hands_on_what_it_skipped(tmp_path):
    folder = spoilt_series(tmp_path / "given")
    with pytest.raises(UserError, match=r"9\.dcm"):
        fetch_series("directory", str(folder), tmp_path / "d")
    fetch_series("directory", str(folder), tmp_path / "d", unusable="skip")
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        "0001.dcm", "0002.dcm", "0003.dcm", "unusable_0001.dcm", "unusable_0002.dcm", "unusable_0003.dcm",
    ]  # fmt: skip
    assert (tmp_path / "d" / "0003.dcm").read_bytes() == (folder / "4.dcm").read_bytes()
    assert len(converted(tmp_path / "d", tmp_path, unusable="skip")[1]["skipped"]) == 3


# The first slices


def test_only_the_first_slices_by_position_are_converted(tmp_path):
    folder = write_series(tmp_path / "d", (6.0, 3.0, 0.0, 9.0))
    volume, info = converted(folder, tmp_path, n_slices=2)
    assert (info["z_mm"], info["shape"][0], volume[:, 0, 0].tolist()) == ([0.0, 3.0], 2, [0, 3])
    with pytest.raises(UserError, match=r"4 slices, fewer than the column `n_slices` says \(9\)"):
        converted(folder, tmp_path, n_slices=9)


# DICOMDIR and single files


@pytest.fixture
def disc(tmp_path):
    """A disc of a hospital: a DICOMDIR and the files that it lists; one more file is beside them."""
    files = FileSet()
    for z in (3.0, 0.0, 6.0):
        files.add(
            make_slice(
                z, np.full((6, 4), 1024 + int(z), np.uint16), PatientID="1", PatientName="A", StudyDate="20200101",
                StudyTime="1200", StudyID="1", SeriesNumber=1,
            )
        )  # fmt: skip
    files.write(tmp_path / "disc")
    write_slice(tmp_path / "disc" / "more.dcm", 9.0)
    return tmp_path / "disc"


def test_a_dicomdir_gives_the_files_it_lists(tmp_path, disc):
    fetch_series("directory", str(disc / "DICOMDIR"), tmp_path / "d")
    assert heights(tmp_path / "d") == [0.0, 3.0, 6.0]
    assert heights(disc) == [0.0, 3.0, 6.0, 9.0]


def test_a_file_that_a_dicomdir_lists_and_that_is_not_there_is_said(tmp_path, disc):
    next(path for path in disc.rglob("*") if path.is_file() and path.name not in ("DICOMDIR", "more.dcm")).unlink()
    with pytest.raises(UserError, match=r"DICOMDIR lists 1 files that are not beside it"):
        fetch_series("directory", str(disc / "DICOMDIR"), tmp_path / "d")


def test_a_disc_in_small_letters_is_read_too(tmp_path, disc):
    for path in sorted(disc.rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.lower()))
    fetch_series("directory", str(disc / "dicomdir"), tmp_path / "d")
    assert heights(tmp_path / "d") == [0.0, 3.0, 6.0]


def test_a_single_file_is_a_series(tmp_path):
    path = write_slice(tmp_path / "a.dcm", 2.0)
    fetch_series("directory", str(path), tmp_path / "d")
    assert (tmp_path / "d" / "0001.dcm").read_bytes() == path.read_bytes()


def test_a_single_file_that_is_no_dicom_is_said(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"notes\.txt contains no CT images \(0 other DICOM objects, 1 other files\)"):
        fetch_series("directory", str(tmp_path / "notes.txt"), tmp_path / "d")
