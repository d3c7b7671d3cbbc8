"""Slices of equal height find each other, and what is not comparable is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quietct.ct.pairing import check_comparable, match_heights, pair_slices
from quietct.errors import UserError

INFO = {
    "shape": [5, 64, 64],
    "spacing_mm": [0.7, 0.7],
    "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    "gantry_tilt_deg": 0.0,
    "slice_thickness_mm": 3.0,
    "kernel": "B40f",
    "kvp": 120.0,
    "exposure_mas": 25.0,
    "z_mm": [0.0, 3.0, 6.0, 9.0, 12.0],
}

heights = st.lists(st.integers(-400, 400).map(lambda n: n / 20), min_size=0, max_size=25, unique=True)


def pairs_by_brute_force(scan, other, tolerance):
    """All (i, j) within the tolerance of which neither has a nearer one."""
    found = {}
    for i, a in enumerate(scan):
        for j, b in enumerate(other):
            distance = abs(a - b)
            if (
                distance <= tolerance + 1e-6
                and all(distance < abs(a - c) for n, c in enumerate(other) if n != j)
                and all(distance < abs(c - b) for n, c in enumerate(scan) if n != i)
            ):
                found[i] = j
    return found


def as_dict(partner):
    return {i: int(j) for i, j in enumerate(partner) if j >= 0}


@settings(deadline=None)
@given(heights, heights, st.floats(0.05, 2))
def test_pairs_are_those_that_are_nearest_to_each_other(scan, other, tolerance):
    # Off by an irrational number, no two distances are equal.
    other = [z + 0.01 * 2**0.5 for z in other]
    assert as_dict(match_heights(scan, other, tolerance)) == pairs_by_brute_force(scan, other, tolerance)


@settings(deadline=None)
@given(heights, heights, st.floats(0.05, 2))
def test_pairing_is_one_to_one_within_the_tolerance_and_the_same_both_ways(scan, other, tolerance):
    there = as_dict(match_heights(scan, other, tolerance))
    back = as_dict(match_heights(other, scan, tolerance))
    assert len(set(there.values())) == len(there)
    assert all(abs(scan[i] - other[j]) <= tolerance + 1e-6 for i, j in there.items())
    if all(abs(a - b) > 2 * tolerance + 1e-5 for z in (scan, other) for a in z for b in z if a != b):
        # No slice has two to choose from: all that lie within the tolerance are pairs.
        every = {i: j for i, a in enumerate(scan) for j, b in enumerate(other) if abs(a - b) <= tolerance + 1e-6}
        assert there == every == {i: j for j, i in back.items()}


@settings(deadline=None)
@given(
    st.integers(2, 40),
    st.integers(-5, 5),
    st.sampled_from([0.6, 1.25, 3.0, 5.0]),
    st.randoms(use_true_random=False),
)
def test_repeats_that_begin_some_slices_apart_and_jitter_are_paired_by_height(count, offset, step, random):
    z = [step * k for k in range(count + 12)]
    jittered = [step * (k + offset) + random.uniform(-0.12, 0.12) * step for k in range(count + 12)]
    scan, other = INFO | {"z_mm": z}, INFO | {"z_mm": jittered}
    expected = {k: k - offset for k in range(count + 12) if 0 <= k - offset < count + 12}
    assert as_dict(pair_slices("low", scan, "high", other)) == expected


def test_a_missing_slice_leaves_its_partner_alone():
    other = INFO | {"z_mm": [0.0, 3.0, 9.0, 12.0]}
    np.testing.assert_array_equal(pair_slices("low", INFO, "high", other), [0, 1, -1, 2, 3])


def test_a_target_with_twice_the_slices_serves_all_of_the_scan_and_the_other_way_round_half():
    fine = INFO | {"z_mm": [1.5 * k for k in range(9)]}
    np.testing.assert_array_equal(pair_slices("low", INFO, "high", fine), [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(pair_slices("low", fine, "high", INFO), [0, -1, 1, -1, 2, -1, 3, -1, 4])


def test_single_slices_are_paired():
    one = INFO | {"z_mm": [6.5]}
    np.testing.assert_array_equal(pair_slices("low", one, "high", INFO), [2])
    np.testing.assert_array_equal(pair_slices("low", one, "high", INFO | {"z_mm": [6.4]}), [0])


@pytest.mark.parametrize("offset", [0.8, 1.5, 2.2])
def test_slices_that_lie_between_those_of_the_target_are_refused(offset):
    other = INFO | {"z_mm": [z + offset for z in INFO["z_mm"]]}
    beside = min(offset, 3 - offset)
    with pytest.raises(UserError, match=rf"low .*every 3 mm.* high .*{beside:g} mm beside .* 0 of [45] have .*0\.75"):
        pair_slices("low", INFO, "high", other)


def test_slices_of_another_step_that_meet_now_and_then_are_refused():
    other = INFO | {"z_mm": [7.0 * k for k in range(12)]}
    with pytest.raises(UserError, match=r"every 3 mm.*every 7 mm.*1 of 9"):
        pair_slices("low", INFO | {"z_mm": [0.9 + 3.0 * k for k in range(9)]}, "high", other)


def test_series_of_other_heights_are_refused():
    other = INFO | {"z_mm": [z + 20 for z in INFO["z_mm"]]}
    with pytest.raises(UserError, match=r"low \(0 to 12 mm\) and its target high \(20 to 32 mm\) have no height"):
        pair_slices("low", INFO, "high", other)


@pytest.mark.parametrize(
    "alike",
    [
        {},
        {"exposure_mas": 200.0},
        {"exposure_mas": None},
        {"shape": [99, 64, 64]},
        {"spacing_mm": [0.70001, 0.7]},
        {"gantry_tilt_deg": None},
        {"gantry_tilt_deg": 0.05},
        {"orientation": [1.0, 0.0002, 0.0, 0.0, 1.0, 0.0]},
    ],
)
def test_series_that_differ_in_exposure_or_rounding_are_comparable(alike):
    check_comparable("low", INFO, "high", INFO | alike)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shape": [5, 64, 32]}, r"size .*64 x 64 and 64 x 32"),
        ({"spacing_mm": [0.7, 0.71]}, r"pixel spacing \(mm\): 0.7 x 0.7 and 0.7 x 0.71"),
        ({"orientation": [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]}, r"orientation: 1, 0, 0, 0, 1, 0 and -1, 0"),
        ({"gantry_tilt_deg": 2.0}, r"gantry tilt \(degrees\): 0 and 2"),
        ({"slice_thickness_mm": 1.5}, r"slice thickness \(mm\): 3 and 1.5"),
        ({"slice_thickness_mm": None}, r"slice thickness \(mm\): 3 and unknown"),
        ({"kernel": "B60f"}, r"kernel: B40f and B60f"),
        ({"kernel": None}, r"kernel: B40f and unknown"),
        ({"kvp": 100.0}, r"tube voltage \(kV\): 120 and 100"),
    ],
)
def test_series_of_other_geometry_or_reconstruction_are_refused_with_both_values(change, sentence):
    with pytest.raises(UserError, match=r"Series low and its target high differ in " + sentence):
        check_comparable("low", INFO, "high", INFO | change)
    with pytest.raises(UserError, match="Series high and its target low differ in"):
        check_comparable("high", INFO | change, "low", INFO)


def test_what_neither_series_tells_is_taken_as_equal():
    silent = INFO | {"kernel": None, "kvp": None, "slice_thickness_mm": None}
    check_comparable("low", silent, "high", silent)
