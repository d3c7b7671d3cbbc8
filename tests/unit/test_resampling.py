"""The bootstrap against its closed form, and its interval against simulated studies."""

from __future__ import annotations

import numpy as np
import pytest

from quietct.evaluation import resampling
from quietct.evaluation.resampling import interval_95, resampled_means


def test_the_scatter_of_resampled_means_is_that_of_the_closed_form():
    # A seed or slice i of n is drawn n_i times, with E[n_i n_j] = 1 − 1/n, and one more for i = j.
    rng = np.random.default_rng(1)
    values = rng.standard_normal((5, 1)) + 0.5 * rng.standard_normal((1, 8)) + rng.standard_normal((5, 8))
    seeds, slices = (np.full((n, n), (1 - 1 / n) / n**2) + np.eye(n) / n**2 for n in values.shape)
    second_moment = np.einsum("ij,kl,ik,jl->", values, values, seeds, slices)
    expected = np.sqrt(second_moment - values.mean() ** 2)
    means = resampled_means(values, resamples=40_000)
    assert means.std() == pytest.approx(expected, rel=0.02)
    assert means.mean() == pytest.approx(values.mean(), abs=4 * expected / 200)


def test_equal_data_give_equal_intervals():
    values = np.random.default_rng(2).standard_normal((4, 6))
    assert interval_95(values) == interval_95(values.copy())
    assert interval_95(values + 10) == pytest.approx(np.add(interval_95(values), 10))


def test_one_seed_leaves_an_interval_over_slices_and_one_value_none():
    slices = np.random.default_rng(3).standard_normal((1, 6))
    low, high = interval_95(slices)
    classical = 2.571 * slices.std(ddof=1) / np.sqrt(6)
    assert high - low == pytest.approx(2 * classical, rel=0.03)
    assert np.isnan(interval_95([[0.3]])).all()


def test_no_scatter_gives_an_interval_without_width():
    assert interval_95(np.full((3, 4), 0.25)) == (0.25, 0.25)


@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("scatter", [(1, 0, 1), (1, 1, 1), (0, 1, 1), (1, 0.1, 0.3)])
def test_the_interval_holds_the_true_difference_in_about_95_percent_of_studies(n_seeds, scatter):
    seed, slice_, rest = scatter
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(150):
        values = 0.7 + seed * rng.standard_normal((n_seeds, 1)) + slice_ * rng.standard_normal((1, 12))
        low, high = interval_95(values + rest * rng.standard_normal((n_seeds, 12)))
        held += low <= 0.7 <= high
    assert held / 150 > 0.9  # 0.95 less three standard errors


def test_means_drawn_a_few_at_a_time_are_those_drawn_at_once(monkeypatch):
    differences = np.random.default_rng(1).normal(size=(3, 40))
    at_once = resampled_means(differences)
    monkeypatch.setattr(resampling, "VALUES_AT_ONCE", 1000)
    assert np.array_equal(resampled_means(differences), at_once)
    # The distribution's mean and scatter are those of all equally likely draws.
    assert at_once.mean() == pytest.approx(differences.mean(), abs=4 * at_once.std() / len(at_once) ** 0.5)
