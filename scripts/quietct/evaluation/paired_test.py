"""Is a mean difference more than chance? Differences paired by seed and by slice, both a sample of many more.

A training is drawn anew with every seed, and a slice is one of many that could have been scanned. Each difference
belongs to one seed and one slice, so that all differences of a seed share its luck and all of a slice its anatomy: they
are not independent, and a t-test over all of them would find differences that aren't there. The model is that of
studies in which several readers read the same cases, with seeds in place of readers (Dorfman, Berbaum & Metz, Invest.
Radiol. 27, 1992; Hillis, Berbaum & Metz, Acad. Radiol. 15, 2008):

    difference of seed s on slice k = mean + seed s + slice k + rest
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr  # scipy.stats takes half a second to load


class MeanError(NamedTuple):
    """How well a mean is known: its standard error, and the degrees of freedom that this error is known with.

    Both are NaN where nothing is repeated.
    """

    standard_error: float
    degrees_of_freedom: float


def mean_error(differences: ArrayLike) -> MeanError:
    """Estimate the standard error of a mean over seeds and slices.

    The variance is (MS_seed + MS_slice − MS_rest) / (seeds · slices), from the mean squares of a two-way analysis of
    variance without replication, with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946). By chance this
    sum can fall below what one factor contributes alone; the larger contribution is taken then, with its own degrees
    of freedom. What is not repeated is not counted as random: one slice leaves the seeds, one seed the slices.

    Parameters
    ----------
    differences : array (seeds, slices)
        Finite, any unit.

    Returns
    -------
    MeanError
        In the unit of the differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    n_seeds, n_slices = values.shape
    if values.size == 1:
        return MeanError(math.nan, math.nan)
    if 1 in values.shape:
        return MeanError(float(values.std(ddof=1) / math.sqrt(values.size)), values.size - 1.0)
    by_seed, by_slice = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_seed[:, np.newaxis] - by_slice + values.mean()
    seed = float(n_slices * by_seed.var(ddof=1))
    slice_ = float(n_seeds * by_slice.var(ddof=1))
    freedom_rest = (n_seeds - 1) * (n_slices - 1)
    residual = float(np.square(rest).sum() / freedom_rest)
    variance = seed + slice_ - residual
    if variance > max(seed, slice_):
        terms = seed**2 / (n_seeds - 1) + slice_**2 / (n_slices - 1) + residual**2 / freedom_rest
        freedom = variance**2 / terms
    elif seed >= slice_:
        variance, freedom = seed, n_seeds - 1.0
    else:
        variance, freedom = slice_, n_slices - 1.0
    return MeanError(math.sqrt(variance / values.size), freedom)


def p_value(differences: ArrayLike) -> float:
    """Probability of a mean at least as far from 0 if there were no difference: two-sided, by Student's t.

    Parameters
    ----------
    differences : array (seeds, slices)
        Finite.

    Returns
    -------
    float
        NaN where nothing scatters, because there is nothing to measure the mean against.
    """
    values = np.asarray(differences, dtype=np.float64)
    error = mean_error(values)
    if not error.standard_error > 0:
        return math.nan
    return float(2 * stdtr(error.degrees_of_freedom, -abs(values.mean()) / error.standard_error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values so that among all of them one is wrongly below 0.05 in at most 5 % of studies.

    Holm, Scand. J. Stat. 6, 1979: the smallest is multiplied by their number, the next by one less, and so on; none
    becomes smaller than the one before.

    Parameters
    ----------
    p_values : sequence of float
        NaN is no test: it stays, and counts for nothing.

    Returns
    -------
    list of float
        In the same order, at most 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]  # NaN is sorted last
    adjusted = np.full(p.shape, math.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted.tolist()
