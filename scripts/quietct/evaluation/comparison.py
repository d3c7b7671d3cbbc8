"""Which differences between methods are real: each pair of back-propagation variants, and the best against filters.

docs/comparison.md says what is compared and what a verdict means.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quietct.errors import UserError
from quietct.evaluation.paired_test import holm, p_value
from quietct.evaluation.resampling import interval_95
from quietct.evaluation.slices import MEASURES, Slices, slices_of
from quietct.evaluation.verdict import write_verdict
from quietct.files import written_whole

logger = logging.getLogger(__name__)

COLUMNS = (
    "noise", "network", "measure", "first", "second", "n_seeds", "n_slices", "mean_first", "mean_second",
    "difference", "low", "high", "p", "p_adjusted", "verdict", "note",
)  # fmt: skip
LEVEL = 0.05
# With two seeds, the test finds a difference in one of ten studies that have none.
MIN_SEEDS = 3
ONE_SEED = "one seed: the interval is over slices, of these trained networks alone; another training may differ"
TWO_SEEDS = "two seeds are too few for a test"
ONE_SLICE = "one slice: nothing is said of other slices"


class Paired(NamedTuple):
    """Values of two methods on the same seeds and slices, (seeds, slices) each, and what had to be left out."""

    first: np.ndarray
    second: np.ndarray
    notes: list[str]


def compare_methods(
    metrics: Sequence[str | Path], comparison_tsv: str | Path, verdict_json: str | Path, init: str
) -> None:
    """Compare methods by their slice tables, and write a table and its verdict in sentences.

    Parameters
    ----------
    metrics : sequence of paths
        Tables written by `measure_quality`, of all methods and test series; methods in the order of the config.
    comparison_tsv : path
        The table to write; see `compare`.
    verdict_json : path
        The sentences to write; see `write_verdict`.
    init : {'shared', 'independent'}
        Whether the variants of a seed had the same first weights.

    Raises
    ------
    UserError
        If there is nothing to compare.
    """
    if not metrics:
        raise UserError(
            "There is nothing to compare: the series sheet needs at least one series with the role test or both."
        )
    slices = slices_of(metrics)
    table = compare(slices)
    verdict = write_verdict(table, slices, init)
    with written_whole(comparison_tsv) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.6g")
    with written_whole(verdict_json) as partial:
        partial.write_text(json.dumps(verdict, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    logger.info("%s", verdict["headline"])
    for noise, sentences in verdict["sentences"].items():
        logger.info("noise %s:\n  %s", noise, "\n  ".join(sentences))


def compare(slices: Slices) -> pd.DataFrame:
    """Compare all pairs of variants of each network, and its best variant with every baseline.

    Parameters
    ----------
    slices : Slices

    Returns
    -------
    DataFrame
        A row per noise, network, measure and pair. `first` and `second` are variants, or the variant with the best
        mean PSNR and a baseline. n_seeds and n_slices count what both methods have, mean_first and mean_second are
        means over these, and difference is first − second, with low and high the ends of its 95 % interval, in the
        unit of the measure. p is that of the paired test, p_adjusted corrected for the pairs of variants, or else of
        baselines, of the same noise, network and measure. verdict is "better", "worse", "no difference shown" or "not
        testable", for the first; note explains what is missing.
    """
    rows = [
        row for noise in slices.noises for network in slices.networks(noise) for row in _rows(slices, noise, network)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(slices: Slices, noise: str, network: str) -> Iterator[dict[str, Any]]:
    variants = slices.variants(noise, network)
    best = slices.best(noise, network, variants)
    families = [
        list(combinations(variants, 2)),
        [(best, baseline) for baseline in slices.baselines(noise)] if best else [],
    ]
    for measure in slices.measures:
        for pairs in families:
            family = []
            for first, second in pairs:
                values = [slices.values(noise, network, name, measure) for name in (first, second)]
                names = {"noise": noise, "network": network, "measure": measure, "first": first, "second": second}
                family.append({**names, **compare_pair(*values)})
            for row, adjusted in zip(family, holm([row["p"] for row in family]), strict=True):
                yield {**row, "p_adjusted": adjusted, "verdict": _verdict(row, adjusted, MEASURES[measure].sign)}


def compare_pair(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """Compare two methods on what both have.

    Parameters
    ----------
    first, second : DataFrame (seeds, slices)
        Values of a measure; NaN where a method failed.

    Returns
    -------
    dict
        n_seeds, n_slices, mean_first, mean_second, difference, low, high, p and note; NaN where there is none.
    """
    a, b, notes = pair(first, second)
    row: dict[str, Any] = {
        "n_seeds": a.shape[0],
        "n_slices": a.shape[1] if a.size else 0,
        "mean_first": float(a.mean()) if a.size else math.nan,
        "mean_second": float(b.mean()) if b.size else math.nan,
        **dict.fromkeys(("difference", "low", "high", "p"), math.nan),
    }
    endless = int((np.isinf(a) | np.isinf(b)).any(axis=0).sum())
    if not a.size:
        notes.append("the methods have no slice in common that both could compute")
    elif endless:
        notes.append(f"the value is infinite on {endless} of {a.shape[1]} slices, where an image equals its target")
    else:
        difference = a - b
        row["difference"] = float(difference.mean())
        row["low"], row["high"] = interval_95(difference)
        notes += _limits(difference)
        if len(difference) >= MIN_SEEDS and _scatters(difference):
            row["p"] = p_value(difference)
    return {**row, "note": "; ".join(notes)}


def pair(first: pd.DataFrame, second: pd.DataFrame) -> Paired:
    """Bring two methods to the same seeds and slices; what failed in one is left out of both.

    Parameters
    ----------
    first, second : DataFrame (seeds, slices)
        Values of a measure; NaN where a method failed.

    Returns
    -------
    Paired
    """
    notes = []
    lone = first.index.symmetric_difference(second.index)
    if len(lone):
        notes.append(f"{_seeds(lone)} left out, because only one of the two has it")
    seeds = first.index.intersection(second.index)
    a, b = first.loc[seeds].to_numpy(), second.loc[seeds].to_numpy()
    failed = np.isnan(a) | np.isnan(b)
    lost = failed.all(axis=1)
    if lost.any():
        notes.append(f"{_seeds(seeds[lost])} left out, because one of the two has no value on any slice")
    a, b, failed = a[~lost], b[~lost], failed[~lost]
    part = failed.any(axis=0)
    if part.any():
        notes.append(f"{part.sum()} of {len(part)} slices left out, because one of the two has no value there")
    return Paired(a[:, ~part], b[:, ~part], notes)


def _seeds(seeds: Iterable[int]) -> str:
    seeds = list(seeds)
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _limits(difference: np.ndarray) -> list[str]:
    """Say what the data are too few for."""
    n_seeds, n_slices = difference.shape
    notes = []
    if n_seeds < MIN_SEEDS:
        notes.append(ONE_SEED if n_seeds == 1 else TWO_SEEDS)
    if n_slices == 1:
        notes.append(ONE_SLICE)
    if not difference.any():
        notes.append("the values are equal on all slices")
    elif difference.size > 1 and not _scatters(difference):
        notes.append("the difference is the same everywhere, so that there is no scatter to judge it by")
    return notes


def _scatters(difference: np.ndarray) -> bool:
    """Tell scatter from the rounding of a subtraction."""
    return bool(np.ptp(difference) > 1e-9 * np.abs(difference).max())


def _verdict(row: dict[str, Any], p_adjusted: float, sign: int) -> str:
    if row["difference"] == 0 and row["low"] == 0 == row["high"] and row["n_seeds"] >= MIN_SEEDS:
        return "no difference shown"  # the same images
    if math.isnan(p_adjusted):
        return "not testable"
    if p_adjusted >= LEVEL:
        return "no difference shown"
    return "better" if row["difference"] * sign > 0 else "worse"
