"""Intervals by resampling: what the mean difference would have been with other seeds and other slices."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from quietct.evaluation.paired_test import mean_error

RESAMPLES = 4000
SEED = 2007
VALUES_AT_ONCE = 1 << 20  # of (means, slices), so that memory does not grow with both


def resampled_means(differences: ArrayLike, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Draw means with the pigeonhole bootstrap: seeds and slices are both drawn anew, with replacement.

    Owen, Ann. Appl. Stat. 1(2), 2007. A drawn seed keeps its differences on all drawn slices, so that what they share
    is drawn with them.

    Parameters
    ----------
    differences : array (seeds, slices)
    resamples : int
        Number of means.
    seed : int
        Of the random numbers: equal data give equal means.

    Returns
    -------
    ndarray, shape (resamples,)
    """
    values = np.asarray(differences, dtype=np.float64)
    n_seeds, n_slices = values.shape
    seeds, slices = _draws(n_seeds, n_slices, resamples, seed)
    means = np.empty(resamples)
    at_once = max(VALUES_AT_ONCE // n_slices, 1)
    for start in range(0, resamples, at_once):
        some = slice(start, start + at_once)
        means[some] = np.einsum("rs,rs->r", seeds[some] / n_seeds @ values, slices[some] / n_slices)
    return means


@lru_cache(maxsize=2)
def _draws(n_seeds: int, n_slices: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw how often each seed and each slice is drawn; the same for all pairs of methods of a run.

    A byte holds a count: to be drawn 256 times, when once is expected, has a chance of 1 in 256!.
    """
    rng = np.random.default_rng(seed)
    seeds, slices = (np.empty((resamples, n), np.uint8) for n in (n_seeds, n_slices))
    for counts in (seeds, slices):
        chances = np.full(counts.shape[1], 1 / counts.shape[1])
        for row in counts:
            row[:] = rng.multinomial(len(row), chances)
    return seeds, slices


def interval_95(differences: ArrayLike) -> tuple[float, float]:
    """Give a 95 % interval of the mean difference.

    The mean ± t · the bootstrap's standard error, with the degrees of freedom of the test and the factor √((f + 1)/f)
    for the scatter that a bootstrap of few loses (Hesterberg, Am. Stat. 69(4), 2015). The middle 95 % of the resampled
    means would be far too narrow with few seeds: with five they hold the true mean in 84 to 92 % of studies where seeds
    matter; this interval does in 95 % or more.

    Parameters
    ----------
    differences : array (seeds, slices)
        Finite.

    Returns
    -------
    low, high : float
        NaN where there is one difference alone.
    """
    values = np.asarray(differences, dtype=np.float64)
    freedom = mean_error(values).degrees_of_freedom
    if math.isnan(freedom):
        return math.nan, math.nan
    error = float(resampled_means(values).std()) * math.sqrt((freedom + 1) / freedom)
    half = float(stdtrit(freedom, 0.975)) * error
    mean = float(values.mean())
    return mean - half, mean + half
