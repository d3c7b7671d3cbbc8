"""The table of a public collection: one row a CT series, to be chosen from by protocol."""

from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from quietct.errors import UserError

Series = dict[str, Any]

# What a scan was planned with. Series of one study that agree in all of it are repeats of one scan.
PROTOCOL = (
    "nodule_layout",
    "scanner",
    "exposure_mas",
    "pitch",
    "slice_collimation",
    "slice_thickness_mm",
    "slice_increment_mm",
    "recon_kernel",
)
# What a value is called in the name of a series.
LABELS = {
    "nodule_layout": "layout{}",
    "scanner": "scanner{}",
    "exposure_mas": "{}mAs",
    "pitch": "pitch{}",
    "slice_collimation": "{}",
    "slice_thickness_mm": "{}mm",
    "slice_increment_mm": "every{}mm",
    "recon_kernel": "kernel{}",
    "StudyInstanceUID": "study{}",
    "repeat": "repeat{}",
}
# Repeats are counted within a study; some protocols were scanned in two studies.
SESSION = ("StudyInstanceUID", "repeat")


def read_collection(path: str | Path) -> list[Series]:
    """Read the table of a collection and find the repeats in it.

    Parameters
    ----------
    path : path
        Tab-separated, such as `resources/phantom_fda_series.tsv`, whose README explains the columns.

    Returns
    -------
    list of dict
        The cells as text, save `n_slices` (int) and `size_mb` (float, 10⁶ bytes). Three columns are added:
        `repeat` counts the repeats of a scan from 1, in the order of their series numbers; `usual_n_slices` is the
        number of slices that most of the repeats have; `missing_slices` is by how many a series has fewer, and tells
        one of which a part was lost.
    """
    with open(path, newline="", encoding="utf-8") as file:
        table: list[Series] = list(csv.DictReader(file, delimiter="\t"))
    scans = defaultdict(list)
    for row in table:
        row["n_slices"], row["size_mb"] = int(row["n_slices"]), float(row["size_mb"])
        scans[row["StudyInstanceUID"], *(row[name] for name in PROTOCOL)].append(row)
    for repeats in scans.values():
        repeats.sort(key=lambda row: (int(row["series_number"]), row["SeriesInstanceUID"]))
        counts = Counter(row["n_slices"] for row in repeats)
        usual = max(counts, key=lambda n: (counts[n], n))
        for number, row in enumerate(repeats, start=1):
            row["repeat"], row["usual_n_slices"] = number, usual
            row["missing_slices"] = max(usual - row["n_slices"], 0)
    return table


def select_series(table: Sequence[Series], text: str) -> list[Series]:
    """Choose the series that fulfil all conditions.

    Parameters
    ----------
    table : sequence of dict
        From `read_collection`.
    text : str
        Conditions `column=value` with commas between them. A value may be several with `|` between them, or a range
        `lowest..highest`; numbers are compared as numbers. Nothing after the `=` stands for an empty cell.

    Returns
    -------
    list of dict
        At least one row, ordered by protocol, study and repeat.

    Raises
    ------
    UserError
        If the text is no list of conditions, a column is unknown, or no series fulfils them.
    """
    rows = list(table)
    for column, wanted in _conditions(text, list(table[0])).items():
        tests = [_test(column, value.strip()) for value in wanted.split("|")]
        left = [row for row in rows if any(test(str(row[column])) for test in tests)]
        if not left:
            found = sorted({str(row[column]) for row in rows}, key=_by_number)
            listed = ", ".join(value or "nothing" for value in found[:12]) + ", ..." * (len(found) > 12)
            raise UserError(
                f"no series is left by the condition {column}={wanted}; those that fulfil the conditions before it "
                f"have {listed}."
            )
        rows = left
    return sorted(rows, key=lambda row: [_by_number(str(row[name])) for name in (*PROTOCOL, *SESSION)])


def name_series(name: str, rows: Sequence[Series]) -> list[str]:
    """Name the series of a selection after what tells them apart.

    Parameters
    ----------
    name : str
        What all names begin with; a single series has this name alone.
    rows : sequence of dict
        From `select_series`.

    Returns
    -------
    list of str
        Such as `low_repeat3` or `dose_25mAs_repeat3`, each different.
    """
    studies = sorted({row["StudyInstanceUID"] for row in rows})
    names = [name] * len(rows)
    for column in (*PROTOCOL, *SESSION):
        values = [str(row[column]) for row in rows]
        if column == "StudyInstanceUID":
            values = [f"study{studies.index(value) + 1}" for value in values]
        longer = [f"{start}_{_label(column, value)}" for start, value in zip(names, values, strict=True)]
        # Columns that vary together, such as thickness and increment, need no two parts.
        if len(set(longer)) > len(set(names)):
            names = longer
    return names


def _conditions(text: str, columns: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(","):
        column, equals, wanted = (word.strip() for word in part.partition("="))
        if not equals or not column:
            raise UserError(f"{part.strip()!r} is no condition; write column=value, with commas between conditions.")
        if column not in columns:
            raise UserError(f"there is no column {column}; the columns are {', '.join(columns)}.")
        if column in found:
            raise UserError(f"there are two conditions on {column}; write several values as {column}=1|2.")
        found[column] = wanted
    return found


def _test(column: str, wanted: str) -> Callable[[str], bool]:
    """Give the function that says whether a cell fulfils one value of a condition."""
    if ".." in wanted:
        low, high = (_number(end) for end in wanted.split("..", 1))
        if low is None or high is None or low > high:
            raise UserError(f"{column}={wanted} is no range; write it as lowest..highest, both numbers.")
        return lambda cell: (value := _number(cell)) is not None and low <= value <= high
    number = _number(wanted)
    if number is not None:
        return lambda cell: _number(cell) == number
    return lambda cell: cell.casefold() == wanted.casefold()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _by_number(text: str) -> tuple[float, str]:
    """Sort numbers by value and before text."""
    number = _number(text)
    return (math.inf if number is None else number, text)


def _label(column: str, value: str) -> str:
    """Give a part of a name, with its unit; what begins with a letter says itself what it is."""
    return value if value[:1].isalpha() else LABELS[column].format(value or "unknown")
