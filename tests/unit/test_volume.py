import errno
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietct.ct.volume import (
    NO_VALUE,
    is_failed,
    new_volume,
    open_volume,
    preview_index,
    read_info,
    to_int16,
    write_info,
)
from quietct.errors import UserError


def test_what_is_written_is_read_back_without_loading_it(tmp_path):
    with new_volume(tmp_path / "a" / "v.npy", (2, 3, 4)) as volume:
        for k in range(2):
            volume[k] = np.arange(12).reshape(3, 4) * (1 - 2 * k)
    opened = open_volume(tmp_path / "a" / "v.npy")
    assert opened.dtype == np.int16
    assert opened[1].tolist() == (-np.arange(12).reshape(3, 4)).tolist()


def test_a_volume_is_a_plain_numpy_file(tmp_path):
    with new_volume(tmp_path / "v.npy", (1, 2, 2)) as volume:
        volume[:] = 7
    assert np.array_equal(np.load(tmp_path / "v.npy", allow_pickle=False), np.full((1, 2, 2), 7))


def test_a_volume_is_indexed_like_an_array(tmp_path):
    hu = np.random.default_rng(1).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    with new_volume(tmp_path / "v.npy", hu.shape) as volume:
        volume[2:] = hu[2:]
        volume[-4], volume[0] = hu[1], hu[0]
    opened = open_volume(tmp_path / "v.npy")
    assert (len(opened), opened.shape, opened.size) == (5, hu.shape, hu.size)
    for index in (3, -1, np.int64(2), slice(1, 4), [0, 4, 4], np.array([1, 2]), hu[:, 0, 0] > 0, (2, slice(1, 3)), ...):
        np.testing.assert_array_equal(opened[index], hu[index])
    np.testing.assert_array_equal(np.asarray(opened), hu)
    np.testing.assert_array_equal(list(opened), hu)
    assert (opened.min(), opened.max()) == (hu.min(), hu.max())
    assert b"".join(opened.blocks(100)) == hu.tobytes()
    for beyond in (5, -6):
        with pytest.raises(IndexError):
            opened[beyond]


def test_an_open_volume_keeps_no_file_open(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 8, 8), np.int16))
    opened = [open_volume(tmp_path / "v.npy") for _ in range(5000)]  # usual limits are 1,024 files or fewer
    assert not opened[-1][0].any()


def test_a_volume_that_was_cut_off_meanwhile_is_named(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 8, 8), np.int16))
    opened = open_volume(tmp_path / "v.npy")
    os.truncate(tmp_path / "v.npy", 300)
    with pytest.raises(UserError, match=r"v\.npy has become shorter"):
        opened[3]


def test_what_is_never_written_is_zero(tmp_path):
    with new_volume(tmp_path / "v.npy", (3, 4, 5)) as volume:
        volume[1] = 7
    assert np.load(tmp_path / "v.npy").sum() == 7 * 20


def test_a_volume_appears_only_when_it_is_complete(tmp_path):
    def write():
        with new_volume(tmp_path / "v.npy", (2, 2, 2)) as volume:
            volume[0] = 1
            assert not (tmp_path / "v.npy").exists()
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"disk is full.*v\.npy"), new_volume(tmp_path / "v.npy", (2, 2, 2)):
        pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_hu_are_rounded_and_clipped_without_wrapping(values):
    stored = to_int16(np.array(values))
    assert stored.dtype == np.int16
    for value, result in zip(values, stored.tolist(), strict=True):
        assert result == min(max(round(value), -32767), 32767)


@given(st.floats(width=32))
def test_only_what_is_no_number_becomes_the_value_of_no_value(value):
    stored = to_int16(np.array([value], np.float32))
    assert (stored[0] == NO_VALUE) == (not np.isfinite(value))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_pixel_without_a_value_makes_an_image_a_failed_one(bad):
    image = np.zeros((3, 4), np.float32)
    assert not is_failed(image)
    image[1, 2] = bad
    assert is_failed(image)
    assert is_failed(to_int16(image))
    assert not is_failed(to_int16(np.full((3, 4), -1e9)))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00", b"PK\x03\x04 an archive", "cut"])
def test_a_file_that_is_no_volume_is_named(tmp_path, content):
    path = tmp_path / "v.npy"
    if content == "cut":
        np.save(path, np.zeros((4, 8, 8), np.int16))
        content = path.read_bytes()[:-100]
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"v\.npy is not a NumPy array file"):
        open_volume(path)


def test_an_absent_volume_is_named(tmp_path):
    with pytest.raises(UserError, match=r"v\.npy does not exist"):
        open_volume(tmp_path / "v.npy")


def test_facts_survive_the_round_trip(tmp_path):
    info = {"z_mm": [1.5, -2.0], "kernel": "B40f", "kvp": None, "model": "Größe"}
    write_info(tmp_path / "v.json", info)
    assert read_info(tmp_path / "v.json") == info


@pytest.mark.parametrize(
    ("allowed", "shown"), [(None, 4), ([0, 3, 8], 3), ([2, 6], 2), ([7], 7), (range(8), 4)]
)  # fmt: skip
def test_the_preview_is_the_allowed_slice_nearest_to_the_middle(allowed, shown):
    volume = np.zeros((8, 2, 2)) if allowed != [0, 3, 8] else np.zeros((9, 2, 2))
    mask = None if allowed is None else np.isin(np.arange(len(volume)), list(allowed))
    assert preview_index(volume, None, "v.npy", mask) == shown


@pytest.mark.parametrize(
    ("wanted", "named"), [(4, "3 and 6"), (0, "3"), (8, "6"), (9, "slices 0 to 8"), (-1, "slices 0 to 8")]
)
def test_a_preview_slice_that_is_trained_on_is_refused_with_the_nearest_held_out_ones(wanted, named):
    volume, mask = np.zeros((9, 2, 2)), np.isin(np.arange(9), [3, 6])
    assert preview_index(volume, 6, "v.npy", mask) == 6
    with pytest.raises(UserError, match=rf"preview\.slice is {wanted}.*v\.npy.*{named}\.$"):
        preview_index(volume, wanted, "v.npy", mask)
