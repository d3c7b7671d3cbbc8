"""What shared first weights do: how differences scatter from seed to seed, with and without pairing."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from quietct.evaluation.slices import Slices


class SeedScatter(NamedTuple):
    """Standard deviations over seeds of the difference between two variants, in the unit of the measure."""

    paired: float
    unpaired: float


def seed_scatter(slices: Slices, noise: str, network: str, measure: str) -> SeedScatter | None:
    """Measure how the mean difference of two variants scatters from seed to seed.

    Parameters
    ----------
    slices : Slices
    noise, network, measure : str

    Returns
    -------
    SeedScatter or None
        Medians over all pairs of variants: `paired` of the difference between trainings of the same seed, `unpaired`
        √(variance of one + variance of the other), which trainings that share nothing have. None with less than two
        seeds or variants that failed nowhere.
    """
    means = []
    for variant in slices.variants(noise, network):
        values = slices.values(noise, network, variant, measure)
        if np.isfinite(values.to_numpy()).all() and len(values) > 1:
            means.append(values.mean(axis=1))
    pairs = [(a, b) for a, b in combinations(means, 2) if a.index.equals(b.index)]
    if not pairs:
        return None
    return SeedScatter(
        paired=float(np.median([(a - b).std() for a, b in pairs])),
        unpaired=float(np.median([np.hypot(a.std(), b.std()) for a, b in pairs])),
    )
