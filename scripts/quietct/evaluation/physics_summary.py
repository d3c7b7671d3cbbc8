"""A physicist's measures of all series, as columns of the summary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Columns of the summary, and where in the JSON of `measure_physics` they are.
COLUMNS = {
    "noise_sd_hu": ("noise_power", "sd_hu"),
    "noise_peak_per_mm": ("noise_power", "peak_per_mm"),
    "noise_mean_per_mm": ("noise_power", "mean_per_mm"),
    "ttf50_per_mm": ("task_transfer", "ttf50_per_mm"),
    "contrast_recovery": ("nodules", "contrast_recovery"),
    "cnr": ("nodules", "cnr"),
    "d_prime": ("detectability", "d_prime"),
    "d_prime_low": ("detectability", "interval"),
    "d_prime_high": ("detectability", "interval"),
}
# Why a value is null where its measure is there.
NULL = {
    "noise_peak_per_mm": "There is no noise.",
    "noise_mean_per_mm": "There is no noise.",
    "ttf50_per_mm": "The transfer function does not fall to a half below the Nyquist frequency.",
    "cnr": "There is no noise.",
}


def values_of(found: dict[str, Any]) -> dict[str, float]:
    """Take the values of `COLUMNS` out of one JSON; NaN for what is missing."""
    values = {}
    for column, (measure, key) in COLUMNS.items():
        value = found[measure].get(key)
        if key == "interval" and value is not None:
            value = value[column == "d_prime_high"]
        values[column] = np.nan if value is None else float(value)
    return values


def reason_of(found: dict[str, Any], column: str) -> str:
    """Say why a column has no value in one JSON, as part of a sentence."""
    sentence = found[COLUMNS[column][0]].get("missing") or NULL[column]
    return f"{sentence[0].lower()}{sentence[1:].rstrip('.')}"


def summarise_physics(physics: Sequence[str | Path]) -> pd.DataFrame:
    """Average the measures of a physicist over the test series.

    As with the measures of slices, a series in which no method has a value is left out for all methods, and a method
    that lacks what another one has is left without a mean. The series are different scans, so that the half-widths of
    their intervals of d' add up in squares.

    Parameters
    ----------
    physics : sequence of path
        JSONs that `measure_physics` wrote, at least one.

    Returns
    -------
    DataFrame
        Indexed by noise and method: `COLUMNS`, and `notes`, which explain every missing value.
    """
    read = [json.loads(Path(path).read_text(encoding="utf-8")) for path in sorted(physics)]
    rows = pd.DataFrame([{key: one[key] for key in ("noise", "method", "series")} | values_of(one) for one in read])
    columns = list(COLUMNS)
    known = rows[columns].notna()
    wanted = known.groupby([rows["noise"], rows["series"]]).transform("any")
    for side in ("d_prime_low", "d_prime_high"):
        rows[side] = (rows[side] - rows["d_prime"]) ** 2
    keys = [rows["noise"], rows["method"]]
    table = rows[columns].groupby(keys).mean()
    lacking = (wanted & ~known).groupby(keys).any()
    table = table.mask(lacking)
    counts = known["d_prime"].groupby(keys).sum()
    for side, sign in (("d_prime_low", -1), ("d_prime_high", 1)):
        table[side] = table["d_prime"] + sign * np.sqrt(table[side] / counts)
    table["notes"] = ""
    for key in table.index:
        own = [
            one for one, (noise, method) in zip(read, zip(*keys, strict=True), strict=True) if (noise, method) == key
        ]
        table.loc[key, "notes"] = _notes(own, [name for name in columns if np.isnan(table.loc[key, name])])
    return table


def _notes(own: Sequence[dict[str, Any]], missing: Sequence[str]) -> str:
    """Explain the empty cells of a method, those of one reason together; the first series without a value tells it."""
    named: dict[str, list[str]] = {}
    for column in missing:
        without = next(one for one in own if np.isnan(values_of(one)[column]))
        named.setdefault(reason_of(without, column), []).append(column)
    return "; ".join(f"no {', '.join(names)}: {reason}" for reason, names in named.items())
