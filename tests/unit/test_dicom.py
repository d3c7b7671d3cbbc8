import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series, write_slice
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import (
    EnhancedCTImageStorage,
    generate_uid,
)

from quietct.ct.dicom.convert import convert_series
from quietct.ct.dicom.header import clean_text
from quietct.ct.dicom.series import read_series
from quietct.errors import UserError


@pytest.fixture
def convert(tmp_path):
    def run(folder):
        convert_series(folder, tmp_path / "out" / "v.npy", tmp_path / "out" / "v.json")
        return np.load(tmp_path / "out" / "v.npy"), json.loads((tmp_path / "out" / "v.json").read_text())

    return run


# Order


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(5)))
def test_slices_are_ordered_by_position_whatever_files_and_numbers_say(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("d")
    for name, k in enumerate(order):
        write_slice(folder / f"{name}.dcm", 2.5 * k - 4, InstanceNumber=9 - k)
    series = read_series(folder)
    assert [image.position for image in series.images] == [-4, -1.5, 1, 3.5, 6]
    assert [order[int(Path(image.file).stem)] for image in series.images] == [0, 1, 2, 3, 4]


def test_sagittal_slices_are_ordered_along_x(tmp_path):
    for k, x in enumerate((5, 1, 3)):
        write_slice(
            tmp_path / str(k), ImagePositionPatient=[x, 0, 0], ImageOrientationPatient=[0, 1, 0, 0, 0, -1]
        )  # fmt: skip
    # The normal (0,1,0) x (0,0,-1) points to -x.
    assert [image.values["ImagePositionPatient"][0] for image in read_series(tmp_path).images] == [5, 3, 1]


def test_one_slice_is_a_series(tmp_path, convert):
    volume, info = convert(write_series(tmp_path / "d", (7.0,)))
    assert volume.shape == (1, 6, 4)
    assert info["z_mm"] == [7.0]


# Facts


def test_facts_are_clean_json_in_slice_order(tmp_path, convert):
    for k, z in enumerate((3.0, 0.0)):
        write_slice(
            tmp_path / "d" / str(k), z, SOPInstanceUID=f"1.9.{k}", KVP="120", Exposure=25, Manufacturer="SIEMENS",
            SeriesDescription="SliceTh-3_SliceInc-\x00\x01", ManufacturerModelName="", SliceThickness=None,
        )  # fmt: skip
    volume, info = convert(tmp_path / "d")
    assert info["z_mm"] == [0.0, 3.0]
    assert info["sop_instance_uids"] == ["1.9.1", "1.9.0"]
    assert info["spacing_mm"] == [0.7, 0.8]
    assert info["shape"] == list(volume.shape) == [2, 6, 4]
    assert (info["kvp"], info["exposure_mas"], info["slice_thickness_mm"]) == (120.0, 25.0, None)
    assert (info["manufacturer"], info["model"], info["kernel"]) == ("SIEMENS", None, "B40f")
    assert info["series_description"] == "SliceTh-3_SliceInc-"
    assert info["series_instance_uid"] == "1.2.3.4"


def test_facts_say_nothing_about_the_patient(tmp_path, convert):
    _, info = convert(
        write_series(tmp_path / "d", PatientName="Secret^Sam", PatientID="4711", PatientBirthDate="19700101")
    )
    assert "Secret" not in json.dumps(info)
    assert "4711" not in json.dumps(info)


@given(st.text())
def test_text_has_no_control_characters_left(text):
    cleaned = clean_text(text)
    assert cleaned is None or not set(cleaned) & set(map(chr, [*range(32), *range(127, 160)]))


# What is refused


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"Rows": 4, "Columns": 6, "stored": np.zeros((4, 6), np.uint16)}, "number of rows"),
        ({"Columns": 5, "stored": np.zeros((6, 5), np.uint16)}, "number of columns"),
        ({"PixelSpacing": [0.9, 0.9]}, "pixel spacing"),
        ({"ConvolutionKernel": "B60f"}, "kernel"),
        ({"ImageOrientationPatient": [0.9, 0.43589, 0, -0.43589, 0.9, 0]}, "orientation"),
    ],
)
def test_slices_that_differ_are_refused_with_both_files(tmp_path, attributes, words):
    write_series(tmp_path)
    write_slice(tmp_path / "odd.dcm", 9.0, **attributes)
    with pytest.raises(UserError, match=words) as caught:
        read_series(tmp_path)
    assert "odd.dcm" in str(caught.value)
    assert "0.dcm" in str(caught.value)


def test_a_missing_slice_is_named_by_its_neighbours(tmp_path):
    with pytest.raises(UserError, match=r"missing between 6\.00 mm .* and 12\.00 mm"):
        read_series(write_series(tmp_path, (0.0, 3.0, 6.0, 12.0, 15.0)))


def test_slightly_uneven_steps_are_accepted(tmp_path):
    assert len(read_series(write_series(tmp_path, (0.0, 3.0, 6.2, 9.0))).images) == 4


def test_two_slices_at_one_position_are_refused(tmp_path):
    write_series(tmp_path)
    write_slice(tmp_path / "again.dcm", 3.0)
    with pytest.raises(UserError, match=r"same position, 3\.00 mm.*again\.dcm|same position, 3\.00 mm.*1\.dcm"):
        read_series(tmp_path)


def test_the_same_image_twice_counts_once(tmp_path):
    write_series(tmp_path)
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "1.dcm").read_bytes())
    assert len(read_series(tmp_path).images) == 3


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "RGB"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "8 bits"),
        ({"NumberOfFrames": 2}, "several frames"),
        ({"RescaleSlope": None}, "no rescale slope"),
        ({"RescaleIntercept": None}, "no rescale slope"),
        ({"RescaleSlope": 0}, "no rescale slope"),
        ({"RescaleType": "MGML"}, "MGML"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
    ],
)
def test_an_image_that_gives_no_hu_is_refused_by_name(tmp_path, attributes, words):
    write_slice(tmp_path / "strange.dcm", **attributes)
    with pytest.raises(UserError, match=words) as caught:
        read_series(tmp_path)
    assert "strange.dcm" in str(caught.value)


def test_a_multi_frame_file_without_its_frames_is_refused_in_words(tmp_path):
    write_slice(tmp_path / "a", SOPClassUID=EnhancedCTImageStorage)
    with pytest.raises(UserError, match="does not describe each of its frames"):
        read_series(tmp_path)


def test_other_modalities_are_no_ct(tmp_path):
    shutil.copy(get_testdata_file("MR_small.dcm"), tmp_path / "mr.dcm")
    with pytest.raises(UserError, match="contains no CT images"):
        read_series(tmp_path)


def test_a_folder_that_is_absent_or_empty_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        read_series(tmp_path / "nowhere")
    with pytest.raises(UserError, match="contains no CT images"):
        read_series(tmp_path)


def test_two_series_need_a_choice(tmp_path):
    write_series(tmp_path / "a", SeriesDescription="soft")
    write_series(tmp_path / "b", (0.0, 1.0), SeriesInstanceUID="1.5", SeriesDescription="sharp")
    with pytest.raises(
        UserError, match=r"1\.2\.3\.4 \(soft, 3 slices\); 1\.5 \(sharp, 2 slices\).*series_instance_uid"
    ):
        read_series(tmp_path)
    assert len(read_series(tmp_path, "1.5").images) == 2


def test_memory_does_not_grow_with_the_series(tmp_path):
    stored = np.zeros((256, 256), np.uint16)

    def peak(folder, count):
        for k in range(count):
            write_slice(tmp_path / folder / f"{k}", float(k), stored, SOPInstanceUID=generate_uid())
        tracemalloc.start()
        convert_series(tmp_path / folder, tmp_path / "v.npy", tmp_path / "v.json")
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak("warm", 2)
    few, many = peak("few", 5), peak("many", 45)
    assert many - few < 10 * stored.nbytes  # 40 slices more; only their headers may stay


def test_conversion_is_repeatable(tmp_path):
    folder = write_series(tmp_path / "d")
    for name in ("a", "b"):
        convert_series(folder, tmp_path / f"{name}.npy", tmp_path / f"{name}.json")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
