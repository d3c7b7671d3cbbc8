"""The paired test against closed forms, SciPy and simulated studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from quietct.evaluation.paired_test import holm, mean_error, p_value


def study(rng, n_seeds, n_slices, seed=0.0, slice_=0.0, rest=1.0, mean=0.0):
    """Draw differences whose seeds, slices and rest scatter as told."""
    return (
        mean
        + seed * rng.standard_normal((n_seeds, 1))
        + slice_ * rng.standard_normal((1, n_slices))
        + rest * rng.standard_normal((n_seeds, n_slices))
    )


def test_slices_that_say_the_same_leave_the_t_test_over_seeds():
    seeds = np.array([0.3, -0.1, 0.4, 0.2, 0.5])
    expected = stats.ttest_1samp(seeds, 0).pvalue
    assert p_value(seeds[:, np.newaxis]) == pytest.approx(expected, rel=1e-12)
    assert p_value(np.repeat(seeds[:, np.newaxis], 12, axis=1)) == pytest.approx(expected, rel=1e-9)


def test_seeds_that_say_the_same_leave_the_t_test_over_slices():
    slices = np.array([0.3, -0.1, 0.4, 0.2, 0.5, 0.0])
    expected = stats.ttest_1samp(slices, 0).pvalue
    assert p_value(slices[np.newaxis]) == pytest.approx(expected, rel=1e-12)
    assert p_value(np.repeat(slices[np.newaxis], 5, axis=0)) == pytest.approx(expected, rel=1e-9)


def test_the_pairs_of_two_methods_are_tested_as_scipy_does():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 8, 1))
    assert p_value(first - second) == pytest.approx(stats.ttest_rel(first[:, 0], second[:, 0]).pvalue, rel=1e-12)


def test_the_standard_error_is_that_of_the_model_by_hand():
    # Seeds ±1, slices −3, 0, 3 and a rest of ±1: sums of squares 6, 36 and 4, of 1, 2 and 2 degrees of freedom.
    seed, slice_ = np.array([[1.0], [-1.0]]), np.array([[-3.0, 0.0, 3.0]])
    rest = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    error = mean_error(5 + seed + slice_ + rest)
    assert error.standard_error == pytest.approx(np.sqrt((6 + 18 - 2) / 6))
    assert error.degrees_of_freedom == pytest.approx(22**2 / (6**2 / 1 + 18**2 / 2 + 2**2 / 2))


def test_the_variance_is_never_below_what_one_factor_contributes():
    rng = np.random.default_rng(2)
    for _ in range(200):
        values = study(rng, 3, 4)
        n_seeds, n_slices = values.shape
        alone = [values.mean(axis=axis).var(ddof=1) / n for axis, n in ((1, n_seeds), (0, n_slices))]
        assert mean_error(values).standard_error ** 2 >= max(alone) * (1 - 1e-12)


def test_what_does_not_scatter_has_no_p_value():
    for values in ([[0.2]], np.full((3, 4), 0.25), np.zeros((3, 4))):
        assert np.isnan(p_value(values))


@pytest.mark.parametrize(("n_seeds", "n_slices"), [(3, 12), (5, 12), (5, 60)])
@pytest.mark.parametrize("scatter", [(1, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 1), (1, 0.1, 0.3)])
def test_studies_without_a_difference_find_one_in_about_five_percent(n_seeds, n_slices, scatter):
    rng = np.random.default_rng(3)
    found = np.mean([p_value(study(rng, n_seeds, n_slices, *scatter)) < 0.05 for _ in range(1500)])
    # Where nothing but the rest scatters, the guard makes the test careful; with three seeds it is a little bold.
    assert 0.01 < found < (0.08 if n_seeds == 3 else 0.07)


def test_a_t_test_over_all_pairs_would_find_differences_that_are_not_there():
    rng = np.random.default_rng(4)
    studies = [study(rng, 5, 12, seed=1, rest=0.5) for _ in range(300)]
    assert np.mean([stats.ttest_1samp(values.ravel(), 0).pvalue < 0.05 for values in studies]) > 0.5
    assert np.mean([p_value(values) < 0.05 for values in studies]) < 0.1


def test_a_real_difference_is_found_as_often_as_theory_says():
    # Seeds alone scatter: the power is that of the t-test over five seeds.
    rng = np.random.default_rng(5)
    found = np.mean([p_value(study(rng, 5, 12, seed=1, rest=0.01, mean=2)) < 0.05 for _ in range(1500)])
    limit = stats.t.ppf(0.975, 4)
    expected = stats.nct.sf(limit, 4, 2 * np.sqrt(5))
    assert found == pytest.approx(expected, abs=0.03)
    assert expected > 0.9


def test_holm_gives_the_textbook_example():
    # 0.01 · 4, 0.02 · 3 = 0.06, 0.03 · 2 = 0.06, 0.04 · 1, which may not be smaller than the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_was_not_tested_does_not_count_in_holm():
    adjusted = holm([np.nan, 0.02, np.nan, 0.03])
    assert np.isnan([adjusted[0], adjusted[2]]).all()
    assert [adjusted[1], adjusted[3]] == pytest.approx([0.04, 0.04])
