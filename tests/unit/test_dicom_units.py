import json

import numpy as np
import pytest
from dicom_files import make_slice, read_slice, write_slice
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from quietct.ct.dicom.convert import convert_series
from quietct.errors import UserError


@pytest.fixture
def convert(tmp_path):
    def run(folder):
        convert_series(folder, tmp_path / "out" / "v.npy", tmp_path / "out" / "v.json")
        return np.load(tmp_path / "out" / "v.npy"), json.loads((tmp_path / "out" / "v.json").read_text())

    return run


def test_unsigned_values_become_hu_without_wrapping(tmp_path, convert):
    write_slice(tmp_path / "d" / "a", stored=np.array([[0, 1024, 4095]] * 2, np.uint16))
    volume, _ = convert(tmp_path / "d")
    assert volume.dtype == np.int16
    assert volume.tolist() == [[[-1024, 0, 3071]] * 2]


def test_each_slice_uses_its_own_slope_and_intercept(tmp_path, convert):
    stored = np.full((2, 2), 100, np.int16)
    write_slice(tmp_path / "d" / "a", 0, stored, RescaleSlope=1, RescaleIntercept=-1000)
    write_slice(tmp_path / "d" / "b", 3, stored, RescaleSlope="2.5", RescaleIntercept=-200)
    volume, _ = convert(tmp_path / "d")
    assert volume[:, 0, 0].tolist() == [-900, 50]


@settings(max_examples=25, deadline=None)
@given(
    slope=st.floats(0.25, 4).map(lambda v: round(v, 4)),
    intercept=st.integers(-2000, 500),
    signed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_linear_scale_is_applied_to_the_nearest_hu(tmp_path_factory, slope, intercept, signed, seed):
    kind = np.int16 if signed else np.uint16
    stored = np.random.default_rng(seed).integers(-2000 if signed else 0, 4000, (3, 5)).astype(kind)
    path = write_slice(tmp_path_factory.mktemp("d") / "a", 0, stored, RescaleSlope=slope, RescaleIntercept=intercept)
    hu, padding = read_slice(path)
    assert np.array_equal(hu, stored.astype(float) * slope + intercept)
    assert padding is None


def test_padding_is_compared_with_stored_values_and_becomes_air(tmp_path, convert):
    stored = np.array([[-2000, -1000], [40, -2000]], np.int16)
    write_slice(tmp_path / "d" / "a", 0, stored, RescaleIntercept=0, PixelPaddingValue=-2000)
    volume, info = convert(tmp_path / "d")
    assert volume.tolist() == [[[-1024, -1000], [40, -1024]]]
    assert info["padded_pixels"] == 2


def test_padding_value_with_the_wrong_representation_still_counts(tmp_path):
    stored = np.array([[-2000, 7]], np.int16)
    ds = make_slice(0, stored, RescaleIntercept=0)
    ds.add_new("PixelPaddingValue", "US", 63536)  # -2000 as unsigned
    ds.save_as(tmp_path / "a", enforce_file_format=True)
    assert read_slice(tmp_path / "a")[0].tolist() == [[-1024, 7]]


def test_padding_range_covers_everything_between_its_ends(tmp_path):
    stored = np.array([[0, 5, 10, 11, 1024]], np.uint16)
    path = write_slice(tmp_path / "a", 0, stored, PixelPaddingValue=0, PixelPaddingRangeLimit=10)
    assert read_slice(path)[1].tolist() == [[True, True, True, False, False]]


def test_gantry_circle_of_a_real_scanner_is_air():
    hu, padding = read_slice(get_testdata_file("CT_small.dcm"))  # padded with -2000, intercept -1024
    assert hu.min() >= -1024
    assert hu.shape == (128, 128)
    assert (hu[padding] == -1024).all()


def test_overlay_bits_above_the_stored_ones_are_dropped(tmp_path):
    stored = np.array([[0x8000 | 100, 100]], np.uint16)
    path = write_slice(tmp_path / "a", 0, stored, BitsStored=12, HighBit=11)
    assert read_slice(path)[0].tolist() == [[-924, -924]]
    signed = np.array([[0x0FFF, 0x0FFE]], np.uint16).view(np.int16)  # -1 and -2 in 12 bits
    path = write_slice(tmp_path / "b", 0, signed, BitsStored=12, HighBit=11, RescaleIntercept=0)
    assert read_slice(path)[0].tolist() == [[-1, -2]]


@pytest.mark.parametrize(
    "syntax", [RLELossless, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_the_encoding_changes_nothing(tmp_path, syntax):
    stored = np.random.default_rng(1).integers(0, 4000, (32, 32)).astype(np.uint16)
    ds = make_slice(0, stored, PixelPaddingValue=70)
    stored[stored == 70] = 0
    if syntax == RLELossless:
        ds.compress(RLELossless, generate_instance_uid=False)
    else:
        ds.file_meta.TransferSyntaxUID = syntax
        ds.PixelData = stored.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    dcmwrite(tmp_path / "a", ds, enforce_file_format=True)
    assert np.array_equal(read_slice(tmp_path / "a")[0], stored.astype(int) - 1024)


def test_overlay_bits_do_not_hide_the_padding(tmp_path):
    stored = np.array([[0x8000 | 7, 7, 8]], np.uint16)
    path = write_slice(tmp_path / "a", 0, stored, BitsStored=12, HighBit=11, PixelPaddingValue=7)
    assert read_slice(path)[0].tolist() == [[-1024, -1024, -1016]]


def test_padding_outside_the_stored_bits_still_counts(tmp_path):
    stored = np.array([[0xF830, 7]], np.uint16)
    path = write_slice(tmp_path / "a", 0, stored, BitsStored=12, HighBit=11, PixelPaddingValue=0xF830)
    assert read_slice(path)[0].tolist() == [[-1024, -1017]]


def test_values_beyond_int16_are_cut_off_and_do_not_wrap(tmp_path, convert):
    write_slice(tmp_path / "d" / "a", 0, np.array([[0, 65535]], np.uint16), RescaleSlope=2, RescaleIntercept=-40000)
    assert convert(tmp_path / "d")[0].tolist() == [[[-32767, 32767]]]


@pytest.mark.parametrize("clip", [(-160, 240), (-160.5, 240.5), (-1e9, 1e9)])
@pytest.mark.parametrize("slope", [1, 0.5])
def test_clipping_is_that_of_the_exact_values(tmp_path, clip, slope):
    stored = np.arange(0, 3000, dtype=np.uint16).reshape(50, 60)
    write_slice(tmp_path / "d" / "a", 0, stored, RescaleSlope=slope)
    convert_series(tmp_path / "d", tmp_path / "v.npy", tmp_path / "v.json", clip_hu=clip)
    assert np.array_equal(np.load(tmp_path / "v.npy")[0], np.rint(np.clip(stored * float(slope) - 1024, *clip)))


def with_table(unit="HU", **attributes):
    ds = make_slice(0, np.array([[3, 10, 12, 99]], np.uint16), RescaleType=None, **attributes)
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 10, 16])
    table.ModalityLUTType = unit
    table.add_new("LUTData", "US", [0, 40, 300, 1200])
    ds.ModalityLUTSequence = [table]
    return ds


def test_a_table_that_gives_hu_is_applied(tmp_path):
    ds = with_table(RescaleSlope=None, RescaleIntercept=None)
    ds.save_as(tmp_path / "a", enforce_file_format=True)
    hu, _ = read_slice(tmp_path / "a")
    assert hu.tolist() == [[0, 0, 300, 1200]]
    assert np.array_equal(hu, apply_modality_lut(ds.pixel_array, ds))


@pytest.mark.parametrize(
    ("ds", "words"),
    [
        (with_table("OD", RescaleSlope=None, RescaleIntercept=None), "gives OD, not Hounsfield units"),
        (with_table(), "both a Modality LUT Sequence and a rescale slope"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path, ds, words):
    ds.save_as(tmp_path / "a", enforce_file_format=True)
    with pytest.raises(UserError, match=words):
        read_slice(tmp_path / "a")


def test_a_real_slice_is_what_pydicom_computes_where_nothing_is_padded():
    ds = dcmread(get_testdata_file("CT_small.dcm"))
    hu, padding = read_slice(get_testdata_file("CT_small.dcm"))
    assert np.array_equal(hu[~padding], apply_modality_lut(ds.pixel_array, ds)[~padding])
    assert np.array_equal(padding, ds.pixel_array == -2000)
