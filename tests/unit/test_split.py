"""The split by height: nothing is trained and tested on, and repeats agree."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietct.ct import split as module
from quietct.ct.split import read_slices, slice_step_mm, training_slices, warn_of_overlap
from quietct.errors import UserError

held_out_slices = module.test_slices  # pytest would take the name for a test


def series(z_mm, partner_mm=None, **facts):
    target = {} if partner_mm is None else {"target": {"z_mm": list(partner_mm)}}
    return {"z_mm": list(z_mm), **target, **facts}


@st.composite
def splits(draw):
    every = draw(st.integers(2, 12))
    margin = draw(st.integers(0, (every - 2) // 2))
    width = draw(st.integers(1, every - 2 * margin - 1))
    return {"every": every, "width": width, "margin": margin}


steps = st.sampled_from([0.5, 0.6, 0.7, 2 / 3, 1.0, 1.25, 2.5, 3.0, 5.0])


def test_without_a_split_every_slice_serves_both():
    info = series([1.0, 2.0, 3.0])
    assert training_slices(info, None).tolist() == [True] * 3
    assert held_out_slices(info, None).tolist() == [True] * 3


def test_of_seven_slices_the_one_at_the_origin_is_held_out():
    info = series(3.0 * np.arange(-8, 9))
    assert np.flatnonzero(held_out_slices(info, {"every": 7})).tolist() == [1, 8, 15]
    assert np.flatnonzero(~training_slices(info, {"every": 7})).tolist() == [1, 8, 15]


def test_width_and_margin_lie_around_the_first_slice_of_a_band():
    info = series(2.0 * np.arange(20))
    split = {"every": 10, "width": 2, "margin": 1}
    assert np.flatnonzero(held_out_slices(info, split)).tolist() == [0, 1, 10, 11]
    assert np.flatnonzero(training_slices(info, split)).tolist() == [*range(3, 9), *range(13, 19)]


def test_the_offset_is_the_height_of_the_first_slice_of_a_band():
    info = series(1000.7 + 3.0 * np.arange(14))
    split = {"every": 7, "offset_mm": 1000.7 + 3.0 * 4}
    assert np.flatnonzero(held_out_slices(info, split)).tolist() == [4, 11]


@pytest.mark.parametrize("count", [23, 24])
def test_slices_on_both_sides_of_the_origin_need_no_offset(count):
    """An even number of them has heights at odd multiples of half a spacing."""
    info = series(2.5 * (np.arange(count) - (count - 1) / 2))
    assert np.diff(np.flatnonzero(held_out_slices(info, {"every": 4}))).tolist() == [4] * (count // 4 - 1)


@given(splits(), steps, st.integers(-900, 900), st.integers(2, 60), st.sampled_from([0.0, 0.2, 0.5, -0.1]))
def test_no_slice_is_both_and_the_margin_keeps_its_distance(split, step, first, count, phase):
    z_mm = np.round(step * (first + phase + np.arange(count)), 6)
    held_out, training = held_out_slices(series(z_mm), split), training_slices(series(z_mm), split)
    assert not (held_out & training).any()
    if held_out.any() and training.any():
        nearest = np.abs(z_mm[held_out][:, None] - z_mm[training]).min()
        assert nearest >= (split["margin"] + 1) * step - 1e-5
    whole = count // split["every"] * split["every"]
    assert held_out[:whole].sum() * split["every"] == whole * split["width"]
    assert training[:whole].sum() * split["every"] == whole * (split["every"] - split["width"] - 2 * split["margin"])


@given(splits(), steps, st.integers(-900, 900), st.data())
def test_repeats_that_begin_elsewhere_agree_on_every_height(split, step, first, data):
    """Their heights differ by rounding, and each lacks slices that the other has."""
    seed = data.draw(st.integers(0, 999))
    grid = step * (first + np.arange(40))
    kinds = []
    for repeat in range(2):
        rng = np.random.default_rng([seed, repeat])
        heights = np.round(grid + rng.uniform(-2e-3, 2e-3, 40) * step, 6)
        chosen = np.sort(rng.choice(np.arange(40), 36, replace=False))[rng.integers(0, 4) :]
        info = series(heights[chosen])
        kind = np.full(40, -1)
        kind[chosen] = held_out_slices(info, split).astype(int) + 2 * training_slices(info, split)
        kinds.append(kind)
    both = (kinds[0] >= 0) & (kinds[1] >= 0)
    assert both.sum() >= 25
    assert np.array_equal(kinds[0][both], kinds[1][both])


@given(splits(), steps, st.floats(-300, 300), st.floats(-0.6, 0.6))
def test_partners_get_the_same_kind_or_the_offset_to_set_is_named(split, step, start, shift):
    """Whatever the heights: either the decision holds for both, or the advice mends it."""
    z_mm = np.round(start + step * np.arange(30), 6)
    partner_mm = np.round(z_mm + shift * step, 6)
    offset_mm = step / 4
    try:
        held_out = held_out_slices(series(z_mm, partner_mm), split)
    except UserError as error:
        offset_mm = float(str(error).split("set split.offset_mm to ")[1].removesuffix("."))
        held_out = held_out_slices(series(z_mm, partner_mm), split | {"offset_mm": offset_mm})
    for heights in (z_mm, partner_mm):
        number = np.floor((heights - offset_mm) / step + 0.5) % split["every"]
        assert np.array_equal(held_out, number < split["width"])


def test_a_partner_on_the_other_side_of_a_band_is_refused_with_the_offset_that_helps():
    z_mm = 3.0 * np.arange(10) + 2.0
    info = series(z_mm, z_mm + 0.7)
    with pytest.raises(UserError, match=r"set split\.offset_mm to 17\.35\.$"):
        held_out_slices(info, {"every": 5})
    with pytest.raises(UserError, match=r"offset_mm"):
        training_slices(info, {"every": 5})
    split = {"every": 5, "offset_mm": 17.35}
    assert np.flatnonzero(held_out_slices(info, split)).tolist() == [0, 5]


def test_heights_between_two_bands_are_refused_also_without_a_target():
    """Rounding alone would put such slices of two repeats to different sides."""
    with pytest.raises(UserError, match=r"set split\.offset_mm to"):
        training_slices(series(3.0 * np.arange(10) + 2.26), {"every": 5})
    with pytest.raises(UserError, match=r"set split\.offset_mm to"):
        training_slices(series(3.0 * np.arange(10) + 2.24), {"every": 5})


def test_slices_without_any_order_cannot_be_split():
    z_mm = np.cumsum(np.random.default_rng(0).uniform(1, 5, 200))
    with pytest.raises(UserError, match="not spaced evenly"):
        training_slices(series(z_mm), {"every": 2})


def test_one_slice_cannot_be_split():
    with pytest.raises(UserError, match="one slice"):
        held_out_slices(series([4.0]), {"every": 7})


@pytest.mark.parametrize("split", [{"every": 4, "width": 4}, {"every": 5, "width": 1, "margin": 2}])
def test_a_split_that_leaves_nothing_to_train_on_is_refused(split):
    with pytest.raises(UserError, match=r"nothing to train on: of every \d slices"):
        training_slices(series(range(20)), split)


@pytest.mark.parametrize("step", [2 / 3, -2 / 3])
def test_the_spacing_is_exact_in_spite_of_rounding_and_gaps(step):
    z_mm = np.round(step * np.delete(np.arange(500), [3, 4, 77, 400]), 1)
    assert slice_step_mm(z_mm) == pytest.approx(2 / 3, abs=2e-4)


# Files


@pytest.fixture
def info_path(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(series([3.0, 6.0, 9.0])))
    return tmp_path / "a.json"


def test_a_file_gives_the_mask_of_its_volume(info_path):
    assert read_slices(held_out_slices, info_path, {"every": 3}, 3).tolist() == [False, False, True]
    assert read_slices(training_slices, info_path, {"every": 3}, 3).tolist() == [True, True, False]
    assert read_slices(training_slices, None, None, 4).tolist() == [True] * 4


def test_a_split_without_heights_is_never_taken_for_no_split():
    with pytest.raises(ValueError, match="heights"):
        read_slices(training_slices, None, {"every": 3}, 4)


def test_a_series_that_lies_between_two_bands_is_named_with_what_it_lacks(info_path):
    with pytest.raises(UserError, match=r"none of the 3 slices of .*a\.json for testing"):
        read_slices(held_out_slices, info_path, {"every": 9}, 3)
    with pytest.raises(UserError, match=r"none of the 3 slices of .*a\.json for training"):
        read_slices(training_slices, info_path, {"every": 9, "width": 8}, 3)


def test_a_file_of_another_volume_is_refused(info_path):
    with pytest.raises(UserError, match=r"a\.json lists 3 slice positions and its volume has 4 slices"):
        read_slices(held_out_slices, info_path, {"every": 3}, 4)


def test_what_the_split_refuses_names_the_file(info_path):
    with pytest.raises(UserError, match=r"a\.json: The key split"):
        read_slices(held_out_slices, info_path, {"every": 2, "width": 2}, 3)


@pytest.mark.parametrize(
    ("thickness", "margin", "needed"), [(3.0, 0, 1), (3.0, 1, None), (1.5, 0, None), (5.0, 1, 3), (None, 0, None)]
)
def test_overlapping_slices_are_warned_of_with_the_margin_they_need(thickness, margin, needed, caplog):
    info = series(1.5 * np.arange(20), slice_thickness_mm=thickness)
    with caplog.at_level(logging.WARNING):
        warn_of_overlap(info, {"every": 9, "margin": margin}, "a")
    if needed is None:
        assert not caplog.records
    else:
        assert f"set split.margin to {needed}." in caplog.text
