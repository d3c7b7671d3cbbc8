"""A channelised Hotelling observer: how well a nodule is told from its absence by what a few smooth channels see.

Laguerre-Gauss channels as in Gallas and Barrett, J. Opt. Soc. Am. A 20(9), 2003: for a round signal in noise without
direction they come close to the ideal linear (Hotelling) observer of Barrett, Yao, Rolland and Myers, PNAS 90, 1993.
The observer is a yardstick, not a reader: it knows the place and the size of the nodule.

The template is never judged by the images that it was made from: those of one slice are scored by a template from all
other slices (cross-validation), so that d' is not raised by chance; with few images it is a little too low instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import eval_laguerre

CHANNELS = 5
WIDTH_OF_DIAMETER = 1.0  # width of the first channel, in diameters of the nodule
BOOTSTRAPS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Detectability:
    """How well presence is told from absence: d', the ends of its bootstrap interval, and the area under the curve."""

    d_prime: float
    interval: tuple[float, float]
    auc: float


def laguerre_gauss(side: int, width_px: float, channels: int = CHANNELS) -> np.ndarray:
    """Draw the channels: Laguerre polynomials of the squared distance under a Gaussian, orthonormal in the plane.

    Parameters
    ----------
    side : int
        Of the region in pixels, odd, so that its middle is a pixel.
    width_px : float
        The Gaussian falls to exp(-pi / 4) at half this distance.
    channels : int

    Returns
    -------
    ndarray of float64 (channels, side, side)
        sqrt(2) / a exp(-pi r² / a²) L_p(2 pi r² / a²).
    """
    at = np.arange(side) - (side - 1) / 2
    square = 2 * np.pi * (at[:, None] ** 2 + at**2) / width_px**2
    order = np.arange(channels)[:, None, None]
    return np.sqrt(2) / width_px * np.exp(-square / 2) * eval_laguerre(order, square)


def channel_outputs(regions: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Send regions through the channels.

    Parameters
    ----------
    regions : ndarray (..., side, side)
        HU. The mean of each is subtracted first: how bright a place is says nothing of a nodule.
    channels : ndarray (channels, side, side)

    Returns
    -------
    ndarray of float64 (..., channels)
    """
    values = np.asarray(regions, dtype=np.float64)
    values = values - values.mean(axis=(-2, -1), keepdims=True)
    return np.tensordot(values, channels, axes=([-2, -1], [-2, -1]))


def hotelling(present: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Make the template that tells two sets of channel outputs apart best: inverse covariance times mean difference.

    Parameters
    ----------
    present, absent : ndarray (images, channels)

    Returns
    -------
    ndarray of float64 (channels,)
        Scaled so that scores have unit variance.
    """
    covariance = (np.cov(present, rowvar=False) + np.cov(absent, rowvar=False)) / 2
    # The pseudo-inverse copes with channels that see nothing, as in a constant image.
    template = np.linalg.pinv(covariance, hermitian=True) @ (present.mean(axis=0) - absent.mean(axis=0))
    variance = template @ covariance @ template
    return template / np.sqrt(variance) if variance > 0 else np.zeros_like(template)


def scores(present: np.ndarray, absent: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score every image by a template that has seen no image of its group.

    Parameters
    ----------
    present, absent : ndarray (pairs, channels)
        The same places with and without a nodule.
    group : ndarray of int (pairs,)
        Slice of each pair.

    Returns
    -------
    present, absent : ndarray of float64 (pairs,)
    """
    found = np.empty((2, len(present)))
    for one in np.unique(group):
        own = group == one
        template = hotelling(present[~own], absent[~own])
        middle = (present[~own].mean(axis=0) + absent[~own].mean(axis=0)) @ template / 2
        found[0, own], found[1, own] = present[own] @ template - middle, absent[own] @ template - middle
    return found[0], found[1]


def d_prime(present: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Separation of two sets of scores (..., images): difference of means over the root of the mean variance."""
    spread = np.sqrt((present.var(axis=-1, ddof=1) + absent.var(axis=-1, ddof=1)) / 2)
    return (present.mean(axis=-1) - absent.mean(axis=-1)) / spread


def area_under_curve(present: np.ndarray, absent: np.ndarray) -> float:
    """Probability that a score with a nodule is above one without, ties counting a half (Mann and Whitney)."""
    from scipy.stats import mannwhitneyu  # takes half a second to load, and most runs have no detection task

    return float(mannwhitneyu(present, absent, method="asymptotic").statistic / (len(present) * len(absent)))


def detectability(present: np.ndarray, absent: np.ndarray, group: np.ndarray, seed: int = 0) -> Detectability:
    """Measure how well an observer tells presence from absence.

    Parameters
    ----------
    present, absent : ndarray (pairs, channels)
        Outputs of the channels at the same places with and without a nodule.
    group : ndarray of int (pairs,)
        Slice of each pair; at least two different ones.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Detectability
        The interval is that of pairs drawn anew (percentiles), with the templates as they are.

    Raises
    ------
    ValueError
        If all scores are equal, as in a constant image.
    """
    with_nodule, without = scores(present, absent, group)
    if not (np.ptp(with_nodule) > 0 and np.ptp(without) > 0):
        raise ValueError("All scores are equal.")
    drawn = np.random.default_rng(seed).integers(len(group), size=(BOOTSTRAPS, len(group)))
    again = d_prime(with_nodule[drawn], without[drawn])
    low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Detectability(float(d_prime(with_nodule, without)), (low, high), area_under_curve(with_nodule, without))
