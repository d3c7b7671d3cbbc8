"""Pixels of derived images: which change, to what, and which stay as they were."""

import numpy as np
import pytest
from derived_series import derived, hu_of, smoothed
from dicom_files import item, make_enhanced, write_slice
from pydicom import dcmread
from pydicom.data import get_testdata_file

from quietct.ct.dicom.field_of_view import outside_field_of_view
from quietct.errors import UserError

RANDOM = np.random.default_rng(8)


def round_image(size=64, fill=0, centre=(0.5, 0.5), radius=0.5):
    """Noise in a circle, one value around it; and where that is."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    outside = (rows - centre[0] * size) ** 2 + (columns - centre[1] * size) ** 2 > (radius * size) ** 2
    return np.where(outside, fill, RANDOM.integers(901, 1200, (size, size))).astype(np.uint16), outside


def stored_of(dataset):
    return np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)


def test_hu_are_the_new_ones_within_rounding_through_each_slices_own_scale(tmp_path):
    scales = [(1, -1024), (0.37, -1000.5), (-0.5, 900), (3, -8192)]
    sources = []
    for k, (slope, intercept) in enumerate(scales):
        stored = np.clip((RANDOM.normal(0, 200, (16, 16)) - intercept) / slope, 0, 65535).astype(np.uint16)
        write_slice(tmp_path / "d" / f"{k}", 3.0 * k, stored, RescaleSlope=slope, RescaleIntercept=intercept)
        sources.append(stored * float(slope) + intercept)
    results = derived(tmp_path / "d", tmp_path / "o")
    for ds, hu, (slope, intercept) in zip(results, sources, scales, strict=True):
        assert (ds.RescaleSlope, ds.RescaleIntercept) == (slope, intercept)
        error = np.abs(hu_of(ds) - smoothed(hu.astype(np.float32)))
        assert error.max() <= abs(slope) / 2 + 1e-3
        assert not np.array_equal(hu_of(ds), hu)


@pytest.mark.parametrize(
    ("dtype", "bits", "low", "high"),
    [(np.uint16, 12, 0, 4095), (np.int16, 12, -2048, 2047), (np.uint16, 16, 0, 65535), (np.int16, 16, -32768, 32767)],
)
def test_values_are_clipped_to_what_can_be_stored(tmp_path, dtype, bits, low, high):
    stored = RANDOM.integers(low // 2 + 1, high // 2, (16, 16)).astype(dtype)
    write_slice(tmp_path / "d/1", 0, stored, BitsStored=bits, HighBit=bits - 1, RescaleIntercept=0)
    for sign, end in ((-1, low), (1, high)):
        [ds] = derived(tmp_path / "d", tmp_path / f"o{sign}", lambda hu, sign=sign: hu + sign * 1e6)
        assert np.all(ds.pixel_array == end)
        assert (ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (bits, bits - 1, int(low < 0))


@pytest.mark.parametrize(("value", "limit"), [(0, None), (63536, None), (100, 300), (300, 100)])
def test_padding_stays_and_nothing_new_looks_like_padding(tmp_path, value, limit):
    stored = RANDOM.integers(301, 4000, (16, 16)).astype(np.uint16)
    mask = RANDOM.random((16, 16)) < 0.2
    stored[mask] = value
    write_slice(tmp_path / "d/1", 0, stored, PixelPaddingValue=value, PixelPaddingRangeLimit=limit)
    # Low values between and beside those of padding are what the network gives.
    [ds] = derived(tmp_path / "d", tmp_path / "o", lambda hu: (hu + 1024) / 10 - 1024)
    new = stored_of(ds)
    low, high = sorted((value, value if limit is None else limit))
    assert np.array_equal(new[mask], stored[mask])
    assert not np.any((new[~mask] >= low) & (new[~mask] <= high))
    wanted = np.rint(stored[~mask] / 10)
    if limit:
        in_range = (wanted >= low) & (wanted <= high)
        assert in_range.any()
        assert set(new[~mask][in_range]) == {99, 301}  # the nearest values on either side
        wanted = np.where(in_range, np.where(wanted < 200, 99, 301), wanted)
    assert np.abs(new[~mask].astype(int) - np.where(wanted == value, wanted + 1, wanted)).max() <= (1 if limit else 0)


def test_padding_that_is_written_with_the_wrong_sign_stays(tmp_path):
    source = dcmread(get_testdata_file("CT_small.dcm"))
    assert source.PixelPaddingValue == -2000
    stored = source.pixel_array.copy()
    stored[:40, :50] = -2000
    source.PixelData = stored.tobytes()
    (tmp_path / "d").mkdir()
    source.save_as(tmp_path / "d/1.dcm")
    [ds] = derived(tmp_path / "d", tmp_path / "o")
    assert np.all(ds.pixel_array[:40, :50] == -2000)
    assert not np.any(ds.pixel_array[41:, 51:] == -2000)


@pytest.mark.parametrize("fill", [0, 900, 64000])
@pytest.mark.parametrize(
    ("centre", "radius"), [((0.5, 0.5), 0.5), ((0.4, 0.65), 0.5), ((0.5, 0.5), 0.45), ((0.5, 0.5), 0.6)]
)
def test_all_around_a_round_image_stays_and_all_in_it_changes(tmp_path, fill, centre, radius):
    stored, outside = round_image(64, fill, centre, radius)
    assert outside.mean() > 0.04
    write_slice(tmp_path / "d/1", 0, stored)
    [ds] = derived(tmp_path / "d", tmp_path / "o", lambda hu: hu * 0 + 40)
    assert np.array_equal(stored_of(ds), np.where(outside, stored, 1064))


def test_a_square_image_changes_everywhere_though_air_is_cut_off_at_the_lowest_value():
    stored = np.maximum(RANDOM.normal(5, 20, (256, 256)), 0).astype(np.uint16)
    assert (stored == 0).mean() > 0.3
    stored[0, 0] = stored[-1, -1] = 0
    assert outside_field_of_view(stored, None).mean() < 0.001


def test_a_round_image_with_air_of_the_same_value_beside_the_filling_keeps_its_shape():
    stored, outside = round_image(128)
    rows, columns = np.mgrid[:128, :128]
    air = ~outside & ((rows - 63.5) ** 2 + (columns - 63.5) ** 2 > 50**2) & (RANDOM.random((128, 128)) < 0.4)
    stored[air] = 0
    found = outside_field_of_view(stored, None)
    assert np.all(found[outside])
    assert found[~outside].mean() < 0.02


def test_what_is_in_unused_bits_stays_there(tmp_path):
    values = RANDOM.integers(0, 4096, (16, 16)).astype(np.uint16)
    overlay = RANDOM.integers(0, 16, (16, 16)).astype(np.uint16) << 12
    write_slice(tmp_path / "d/1", 0, values | overlay, BitsStored=12, HighBit=11)
    [ds] = derived(tmp_path / "d", tmp_path / "o")
    new = stored_of(ds)
    assert np.array_equal(new & 0xF000, overlay)
    wanted = smoothed(values.astype(np.float32))
    assert np.abs((new & 0x0FFF) - wanted).max() <= 0.51
    [ds] = derived(tmp_path / "d", tmp_path / "p", deidentify=True)  # a name may be written there
    assert np.array_equal(stored_of(ds), new & 0x0FFF)


def test_unused_bits_go_with_the_identity_also_around_a_round_image(tmp_path):
    values, outside = round_image(32)
    write_slice(tmp_path / "d/1", 0, values | np.uint16(0x1000), BitsStored=12, HighBit=11)
    [ds] = derived(tmp_path / "d", tmp_path / "o")
    assert np.all(stored_of(ds) & 0xF000 == 0x1000)
    [ds] = derived(tmp_path / "d", tmp_path / "p", deidentify=True)
    assert np.all(stored_of(ds) & 0xF000 == 0)
    assert np.all(stored_of(ds)[outside] == 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_result_that_is_no_number_is_refused(tmp_path, bad):
    write_slice(tmp_path / "d/1")

    def broken(hu):
        hu[2, 2] = bad
        return hu

    with pytest.raises(UserError, match=r"no numbers for .*d/1\. Use other weights"):
        derived(tmp_path / "d", tmp_path / "o", broken)
    assert not list((tmp_path / "o").iterdir())


def test_a_scale_that_is_a_table_is_refused(tmp_path):
    table = item(LUTDescriptor=[4096, 0, 16], ModalityLUTType="HU", LUTData=np.arange(4096, dtype=np.uint16).tobytes())
    table[0]["LUTDescriptor"].VR, table[0]["LUTData"].VR = "US", "OW"
    write_slice(tmp_path / "d/1", RescaleSlope=None, RescaleIntercept=None, ModalityLUTSequence=table)
    with pytest.raises(UserError, match=r"d/1 has no rescale slope and intercept, which a CT image must have"):
        derived(tmp_path / "d", tmp_path / "o")


def test_frames_become_images_in_the_order_of_place_with_their_own_scale(tmp_path):
    heights, scales = (6.0, 0.0, 3.0), ((1, -1024), (2, -1000), (0.5, -500))
    stored = [RANDOM.integers(0, 4000, (12, 10)).astype(np.uint16) for _ in heights]
    frames = [
        (z, one, {"PixelValueTransformationSequence": item(RescaleSlope=a, RescaleIntercept=b, RescaleType="HU")})
        for z, one, (a, b) in zip(heights, stored, scales, strict=True)
    ]
    ds = make_enhanced(frames, {"PixelValueTransformationSequence": None})
    (tmp_path / "d").mkdir()
    ds.save_as(tmp_path / "d/1.dcm", enforce_file_format=True)
    results = derived(tmp_path / "d", tmp_path / "o")
    assert [float(result.ImagePositionPatient[2]) for result in results] == [0, 3, 6]
    for k, result in zip((1, 2, 0), results, strict=True):
        slope, intercept = scales[k]
        assert (result.RescaleSlope, result.RescaleIntercept) == (slope, intercept)
        wanted = smoothed(stored[k].astype(np.float32) * slope + intercept)
        assert np.abs(hu_of(result) - wanted).max() <= slope / 2 + 1e-3
