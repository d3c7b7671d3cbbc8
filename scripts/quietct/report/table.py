"""The summary table as the report shows it: columns in groups, gaps with their reason."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from quietct.figures.style import method_label

HIGHER, LOWER, NEAR_ZERO, NONE = "higher", "lower", "zero", ""


class Measure(NamedTuple):
    """A column: its name in the file, heading, unit, digits, which values are good, and its grey-value window."""

    name: str
    heading: str
    unit: str
    digits: int
    better: str
    window: str = ""


GROUPS: dict[str, tuple[Measure, ...]] = {
    "Fidelity": (
        Measure("psnr_db", "PSNR", "dB", 2, HIGHER, "window"),
        Measure("ssim", "SSIM", "", 4, HIGHER, "window"),
        Measure("rmse_hu", "RMSE", "HU", 2, LOWER),
        Measure("bias_hu", "Bias", "HU", 2, NEAR_ZERO),
        Measure("vif", "VIF", "", 3, HIGHER),
        Measure("noise_index_hu", "Global noise index", "HU", 2, NONE),
        Measure("ceiling_psnr_db", "Ceiling of PSNR", "dB", 2, NONE, "window"),
        Measure("rmse_corrected_hu", "RMSE without the target's noise", "HU", 2, LOWER),
    ),
    "Windows": (
        Measure("psnr_lung_db", "PSNR, lung", "dB", 2, HIGHER, "lung_window"),
        Measure("ssim_lung", "SSIM, lung", "", 4, HIGHER, "lung_window"),
        Measure("psnr_mediastinum_db", "PSNR, mediastinum", "dB", 2, HIGHER, "mediastinum_window"),
        Measure("ssim_mediastinum", "SSIM, mediastinum", "", 4, HIGHER, "mediastinum_window"),
    ),
    "Tissue": (
        Measure("rmse_lung_hu", "RMSE, lung", "HU", 2, LOWER),
        Measure("bias_lung_hu", "Bias, lung", "HU", 2, NEAR_ZERO),
        Measure("rmse_soft_tissue_hu", "RMSE, soft tissue", "HU", 2, LOWER),
        Measure("bias_soft_tissue_hu", "Bias, soft tissue", "HU", 2, NEAR_ZERO),
        Measure("rmse_bone_hu", "RMSE, bone", "HU", 2, LOWER),
        Measure("bias_bone_hu", "Bias, bone", "HU", 2, NEAR_ZERO),
        Measure("rmse_nodule_hu", "RMSE, nodule", "HU", 2, LOWER),
        Measure("bias_nodule_hu", "Bias, nodule", "HU", 2, NEAR_ZERO),
    ),
    "Physics": (
        Measure("noise_sd_hu", "Noise SD", "HU", 2, NONE),
        Measure("noise_peak_per_mm", "Noise peak", "1/mm", 3, NONE),
        Measure("noise_mean_per_mm", "Noise mean frequency", "1/mm", 3, NONE),
        Measure("ttf50_per_mm", "TTF 50 %", "1/mm", 3, HIGHER),
        Measure("contrast_recovery", "Nodule contrast recovery", "", 3, NONE),
        Measure("cnr", "CNR", "", 2, HIGHER),
        Measure("d_prime", "d′", "", 2, HIGHER),
        Measure("d_prime_low", "d′, low end", "", 2, NONE),
        Measure("d_prime_high", "d′, high end", "", 2, NONE),
    ),
    "Slices": (
        Measure("n_slices", "Slices", "", 0, NONE),
        Measure("n_failed", "Failed slices", "", 0, NONE),
    ),
}


HEADINGS = {measure.name: measure.heading for measures in GROUPS.values() for measure in measures}
# What a sentence of the column `notes` looks like: columns, and why they are empty.
NOTE = re.compile(r"no ([\w, ]+): (.+)")


class Column(NamedTuple):
    """A column of the page."""

    measure: Measure
    window: str
    data_range: str


class Cell(NamedTuple):
    """A value of the page: as written, for sorting, whether it is the best of its noise, and why it is empty.

    An empty cell is sorted by an empty text.
    """

    text: str
    value: str
    best: bool
    reason: str


class Row(NamedTuple):
    """A method at a noise."""

    noise: str
    method: str
    label: str
    cells: dict[str, list[Cell]]


class Table(NamedTuple):
    """Columns by group, rows in the order of the file, ceilings by noise, and notes with the rows that they are of."""

    groups: dict[str, list[Column]]
    rows: list[Row]
    ceilings: dict[str, str]
    notes: dict[str, list[str]]


def read_summary(path: Any) -> pd.DataFrame:
    """Read summary.tsv; names stay names, empty cells are missing, infinite values are kept."""
    names = ("noise", "method", "network", "variant", "notes")
    table = pd.read_csv(path, sep="\t", dtype=dict.fromkeys(names, str), keep_default_na=False, na_values={})
    for column in table.columns:
        if column not in names:
            table[column] = pd.to_numeric(table[column].replace("", None), errors="coerce")
    return table


def make_table(summary: pd.DataFrame) -> Table:
    """Arrange the summary for the page; columns that the file lacks are left out."""
    groups = {}
    for name, measures in GROUPS.items():
        columns = [Column(one, *_window(summary, one)) for one in measures if one.name in summary.columns]
        if columns:
            groups[name] = columns
    best = {
        (noise, column.measure.name): _best(rows, column.measure)
        for noise, rows in summary.groupby("noise", sort=False)
        for columns in groups.values()
        for column in columns
    }
    rows = []
    for record in summary.to_dict("records"):
        notes = str(record.get("notes") or "")
        cells = {
            name: [
                make_cell(
                    record[c.measure.name], c.measure, record["method"] in best[record["noise"], c.measure.name], notes
                )
                for c in columns
            ]
            for name, columns in groups.items()
        }
        rows.append(Row(record["noise"], record["method"], method_label(record["method"]), cells))
    return Table(groups, rows, _ceilings(summary), _notes(summary))


def make_cell(value: float, measure: Measure, best: bool, notes: str) -> Cell:
    """Write a value; a missing one is a dash with the notes of its row as reason."""
    if value is None or math.isnan(value):
        return Cell("—", "", False, reason_for(measure.name, notes))
    return Cell(number(value, measure.digits), repr(float(value)), best, "")


def number(value: float, digits: int) -> str:
    """Write a number with a true minus sign; infinity is ∞, and what rounds to zero has no sign."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def reason_for(name: str, notes: str) -> str:
    """Find the sentence on an empty cell.

    Parameters
    ----------
    name : str
        Of the column.
    notes : str
        Of the row: sentences such as "no vif, cnr: the target is constant", joined by "; ".

    Returns
    -------
    str
        The reason; all notes, where none names the column; and where there are none, that the run gives no reason.
    """
    for sentence in notes.split("; "):
        named = NOTE.fullmatch(sentence)
        if named and name in named[1].split(", "):
            return f"{named[2][0].upper()}{named[2][1:]}."
    return notes or "The run gives no value and no reason."


def _notes(summary: pd.DataFrame) -> dict[str, list[str]]:
    """Give each sentence of the notes once, with headings in place of columns, and the methods that it is of."""
    found: dict[str, list[str]] = {}
    several = summary["noise"].nunique() > 1
    for record in summary.to_dict("records"):
        row = f"{method_label(record['method'])}, {record['noise']}" if several else method_label(record["method"])
        for sentence in filter(None, str(record.get("notes") or "").split("; ")):
            named = NOTE.fullmatch(sentence)
            text = sentence
            if named:
                text = f"{'; '.join(HEADINGS.get(name, name) for name in named[1].split(', '))}: {named[2]}"
            found.setdefault(text, []).append(row)
    return found


def _window(summary: pd.DataFrame, measure: Measure) -> tuple[str, str]:
    """Give window and data range of a column in words; two empty strings where it has none."""
    if not measure.window or not len(summary):
        return "", ""
    ends = [f"{measure.window}_low_hu", f"{measure.window}_high_hu"]
    if not set(ends) <= set(summary.columns):
        return "", ""
    pairs = summary[ends].dropna().drop_duplicates().itertuples(index=False)
    texts = [(f"{number(low, 0)} to {number(high, 0)} HU", f"{number(high - low, 0)} HU") for low, high in pairs]
    return " / ".join(text for text, _ in texts), " / ".join(dict.fromkeys(width for _, width in texts))


def _best(rows: pd.DataFrame, measure: Measure) -> set[str]:
    """Name the methods with the best value as written; what was not denoised does not compete."""
    if measure.better == NONE:
        return set()
    values = rows[rows["method"] != "noisy"].set_index("method")[measure.name].dropna()
    if len(values) < 2:
        return set()
    score = {HIGHER: values, LOWER: -values, NEAR_ZERO: -values.abs()}[measure.better].round(measure.digits)
    return set(score[score == score.max()].index)


def _ceilings(summary: pd.DataFrame) -> dict[str, str]:
    """Give the PSNR that no method can exceed, by noise, where the targets' own noise is known."""
    if "ceiling_psnr_db" not in summary.columns:
        return {}
    known: Iterable[tuple[Any, float]] = (
        summary.groupby("noise", sort=False)["ceiling_psnr_db"].first().dropna().items()
    )
    return {str(noise): number(value, 2) for noise, value in known}
