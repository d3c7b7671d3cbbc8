import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quietct.ct.patches import body_fractions, body_mask, extract_patches, patch_corners
from quietct.ct.volume import new_volume, open_volume
from quietct.errors import UserError

ANYWHERE = {"min_body_fraction": 0.0, "body_threshold_hu": -500, "seed": 1}


def rng():
    return np.random.default_rng(0)


def trunk(rows=40, columns=40):
    """Air with a body of 20 x 24, a lung in it, and a table below that does not touch it."""
    hu = np.full((rows, columns), -1000, np.int16)
    hu[8:28, 8:32] = 40
    hu[12:24, 14:26] = -850
    hu[34:36, 2:38] = -100
    return hu


@pytest.fixture
def volumes(tmp_path):
    """Every voxel has a value of its own; noisy and clean differ by 20000."""
    for name, shift in (("clean", 0), ("noisy", -20000)):
        with new_volume(tmp_path / f"{name}.npy", (3, 20, 24)) as volume:
            volume[:] = np.arange(3 * 20 * 24).reshape(3, 20, 24) + shift
    return tmp_path


def cut(volumes, **choice):
    path = volumes / "patches.npy"
    extract_patches(volumes / "clean.npy", volumes / "noisy.npy", path, ANYWHERE | choice, "a")
    return open_volume(path)


# Body


def test_body_holds_its_lungs_and_not_the_table():
    expected = np.zeros((40, 40), bool)
    expected[8:28, 8:32] = True
    assert np.array_equal(body_mask(trunk(), -500), expected)


def test_air_has_no_body():
    assert not body_mask(np.full((9, 9), -1000), -500).any()


def test_body_may_fill_the_slice():
    assert body_mask(np.full((9, 9), 40), -500).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 99))
def test_body_fractions_equal_the_mean_of_every_patch(height, width, seed):
    mask = np.random.default_rng(seed).random((12, 10)) < 0.4
    fractions = body_fractions(mask, height, width)
    assert fractions.shape == (13 - height, 11 - width)
    for row, column in np.ndindex(fractions.shape):
        assert fractions[row, column] == pytest.approx(mask[row : row + height, column : column + width].mean())


# Layouts


def test_quadrants_are_the_four_quarters(volumes):
    patches = cut(volumes, layout="quadrants")
    clean = open_volume(volumes / "clean.npy")
    assert patches.shape == (12, 2, 10, 12)
    for k, image in enumerate(clean):
        top, bottom = np.hstack(patches[4 * k : 4 * k + 2, 1]), np.hstack(patches[4 * k + 2 : 4 * k + 4, 1])
        assert np.array_equal(np.vstack([top, bottom]), image)


def test_grid_covers_the_slice_to_its_border():
    corners = patch_corners(np.zeros((20, 23), np.int16), ANYWHERE | {"layout": "grid", "size": 8, "stride": 6}, rng())
    assert sorted({int(r) for r, _ in corners}) == [0, 6, 12]
    assert sorted({int(c) for _, c in corners}) == [0, 6, 12, 15]
    assert len(corners) == 12


@settings(max_examples=50, deadline=None)
@given(st.integers(5, 30), st.integers(5, 30), st.integers(1, 5), st.integers(1, 5))
def test_any_dense_grid_touches_every_pixel(rows, columns, size, stride):
    stride = min(stride, size)
    corners = patch_corners(
        np.zeros((rows, columns), np.int16), ANYWHERE | {"layout": "grid", "size": size, "stride": stride}, rng()
    )
    seen = np.zeros((rows, columns), bool)
    for row, column in corners:
        assert seen[row : row + size, column : column + size].shape == (size, size)
        seen[row : row + size, column : column + size] = True
    assert seen.all()
    assert len({tuple(corner) for corner in corners.tolist()}) == len(corners)


def test_random_gives_as_many_as_asked_all_within_the_slice():
    settings = ANYWHERE | {"layout": "random", "size": 7, "per_slice": 50}
    corners = patch_corners(np.zeros((20, 23), np.int16), settings, rng())
    assert len({tuple(c) for c in corners.tolist()}) == 50  # no place twice
    assert corners.min() >= 0
    assert corners[:, 0].max() <= 13
    assert corners[:, 1].max() <= 16


def test_random_repeats_places_only_when_there_are_too_few():
    settings = ANYWHERE | {"layout": "random", "size": 9, "per_slice": 30}
    assert len(patch_corners(np.zeros((10, 10), np.int16), settings, rng())) == 30


@pytest.mark.parametrize("layout", [{"layout": "random", "per_slice": 40}, {"layout": "grid", "stride": 3}])
def test_only_patches_with_body_enough_are_taken(layout):
    hu = trunk()
    corners = patch_corners(hu, ANYWHERE | {"size": 10, "min_body_fraction": 0.6} | layout, rng())
    assert len(corners)
    body = np.zeros((40, 40), bool)
    body[8:28, 8:32] = True
    for row, column in corners:
        assert body[row : row + 10, column : column + 10].mean() >= 0.6


def test_quadrants_without_body_are_left_out():
    hu = np.full((20, 20), -1000, np.int16)
    hu[:10, :10] = 0
    settings = {"layout": "quadrants", "min_body_fraction": 0.5, "body_threshold_hu": -500}
    assert patch_corners(hu, settings, rng()).tolist() == [[0, 0]]
    assert len(patch_corners(hu, settings | {"min_body_fraction": 0}, rng())) == 4


def test_slices_without_body_give_no_patches():
    settings = ANYWHERE | {"layout": "random", "size": 8, "per_slice": 5, "min_body_fraction": 0.1}
    assert len(patch_corners(np.full((20, 20), -1000, np.int16), settings, rng())) == 0


# Pairs


@pytest.mark.parametrize(
    "choice", [{"layout": "random", "size": 6, "per_slice": 9}, {"layout": "grid", "size": 6, "stride": 5}]
)
def test_patches_are_the_pixels_of_both_volumes_bit_by_bit(volumes, choice):
    patches = cut(volumes, **choice)
    clean, noisy = open_volume(volumes / "clean.npy"), open_volume(volumes / "noisy.npy")
    assert patches.dtype == np.int16
    for pair in patches:
        # The value of a clean voxel tells where it is from.
        k, row, column = np.unravel_index(int(pair[1, 0, 0]), clean.shape)
        window = (k, slice(row, row + 6), slice(column, column + 6))
        assert np.array_equal(pair[1], clean[window])
        assert np.array_equal(pair[0], noisy[window])


def test_random_patches_depend_on_seed_series_and_slice_alone(volumes):
    choice = {"layout": "random", "size": 6, "per_slice": 9}
    first = np.array(cut(volumes, **choice))
    assert np.array_equal(cut(volumes, **choice), first)
    assert not np.array_equal(cut(volumes, **choice, seed=2), first)
    extract_patches(
        volumes / "clean.npy", volumes / "noisy.npy", volumes / "patches.npy", ANYWHERE | choice, "b"
    )  # fmt: skip
    assert not np.array_equal(open_volume(volumes / "patches.npy"), first)
    in_slice = first[:, 1, 0, 0] % (20 * 24)
    assert not np.array_equal(in_slice[:9], in_slice[9:18])


# What is refused


@pytest.mark.parametrize("layout", ["random", "grid"])
def test_patches_larger_than_the_slice_are_refused(volumes, layout):
    with pytest.raises(UserError, match="`patches: size` is 21"):
        cut(volumes, layout=layout, size=21, stride=4, per_slice=2)
    assert not (volumes / "patches.npy").exists()


def test_a_patch_may_be_as_large_as_the_slice(tmp_path):
    for name in ("clean", "noisy"):
        with new_volume(tmp_path / f"{name}.npy", (1, 8, 8)) as volume:
            volume[:] = 3
    assert cut(tmp_path, layout="grid", size=8, stride=8).shape == (1, 2, 8, 8)


@pytest.mark.parametrize(
    ("choice", "key"),
    [
        ({"layout": "spiral"}, "layout"),
        ({"layout": "grid", "size": 0, "stride": 4}, "size"),
        ({"layout": "grid", "size": 4, "stride": 0}, "stride"),
        ({"layout": "random", "size": 4, "per_slice": 0}, "per_slice"),
        ({"layout": "random", "size": 4}, "per_slice"),
    ],
)
def test_senseless_settings_are_refused_with_their_key(volumes, choice, key):
    with pytest.raises(UserError, match=f"`patches: {key}`"):
        cut(volumes, **choice)


def test_no_patches_at_all_is_an_error_that_says_what_to_change(volumes):
    with pytest.raises(UserError, match="min_body_fraction"):
        cut(volumes, layout="random", size=8, per_slice=4, min_body_fraction=0.5, body_threshold_hu=20000)
    assert not (volumes / "patches.npy").exists()


def test_volumes_of_different_shape_are_refused(volumes):
    with new_volume(volumes / "noisy.npy", (3, 20, 20)) as other:
        other[:] = 0
    with pytest.raises(UserError, match="shape"):
        cut(volumes, layout="quadrants")


# Split


@pytest.fixture
def tall(tmp_path):
    """A volume of nine slices whose values tell their slice, 2 mm apart from -8 mm, and its JSON."""
    for name, shift in (("clean", 0), ("noisy", -20000)):
        with new_volume(tmp_path / f"{name}.npy", (9, 20, 24)) as volume:
            volume[:] = np.arange(9 * 20 * 24).reshape(9, 20, 24) + shift
    (tmp_path / "a.json").write_text(json.dumps({"z_mm": [-8 + 2 * k for k in range(9)], "slice_thickness_mm": 2}))
    return tmp_path


def cut_split(folder, split, layout, name="patches.npy"):
    volumes = (folder / "clean.npy", folder / "noisy.npy", folder / name)
    extract_patches(*volumes, ANYWHERE | layout, "a", info_path=folder / "a.json", split=split)
    return np.array(open_volume(folder / name))


def slices_of(patches):
    """Slice of each pair, told by the values."""
    return patches[:, 1, 0, 0] // (20 * 24)


LAYOUTS = [{"layout": "quadrants"}, {"layout": "random", "size": 6, "per_slice": 5}]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_patches_of_a_split_are_those_of_the_training_slices_unchanged(tall, layout):
    whole = cut_split(tall, None, layout, "whole.npy")
    part = cut_split(tall, {"every": 4, "width": 1, "margin": 1}, layout)
    # At -8, 0 and 8 mm slices are held out; beside them lies the margin.
    assert sorted(set(slices_of(part))) == [2, 6]
    assert np.array_equal(part, whole[np.isin(slices_of(whole), [2, 6])])


def test_a_split_that_leaves_the_series_no_training_slice_is_refused(tall):
    (tall / "a.json").write_text(json.dumps({"z_mm": [2 * k for k in range(9)]}))
    with pytest.raises(UserError, match=r"none of the 9 slices of .*a\.json for training"):
        cut_split(tall, {"every": 12, "width": 9}, {"layout": "quadrants"})
    assert not (tall / "patches.npy").exists()


def test_slices_thicker_than_their_distance_are_warned_of(tall, caplog):
    (tall / "a.json").write_text(json.dumps({"z_mm": [2 * k for k in range(9)], "slice_thickness_mm": 4}))
    with caplog.at_level(logging.WARNING):
        cut_split(tall, {"every": 4}, {"layout": "quadrants"})
    assert "a: slices of 4 mm every 2 mm overlap" in caplog.text
