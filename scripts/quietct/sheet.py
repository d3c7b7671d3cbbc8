"""The series sheet: which CT series an experiment uses, from where, and for what."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quietct.errors import UserError
from quietct.settings import check_schema

Row = dict[str, Any]

# What tells one series from another in the same place. The number of slices is not in it: the first ten slices of a
# series are part of that series.
IDENTITY = ("series_instance_uid", "nodule_layout", "exposure_mas", "repeat")


def read_sheet(path: str | Path, schema: Mapping[str, Any], where: str | None = None) -> list[Row]:
    """Read a series sheet and check every row.

    Parameters
    ----------
    path : path
        Tab-separated, first line the column names. Empty lines are skipped.
    schema : dict
        `workflow/schemas/series.schema.yaml`, which holds for each row.
    where : str, optional
        Name of the sheet in sentences; `path` if absent.

    Returns
    -------
    list of dict
        One per series; empty cells are left out, numbers are numbers.

    Raises
    ------
    UserError
        If the file is absent or no table, a cell is wrong, a name appears twice, or there is nothing to train on or
        nothing to test on.
    """
    where = where or str(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = list(csv.reader(file, delimiter="\t"))
    except FileNotFoundError:
        raise UserError(f"The series sheet {where} does not exist; name an existing one under series.") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise UserError(f"The series sheet {where} is no tab-separated text file.") from None
    columns = [name.strip() for name in table[0]] if table else []
    if "series" not in columns:
        raise UserError(f"{where} has no column series in its first line; columns are separated by tabs.")
    if len(set(columns)) < len(columns):
        raise UserError(f"{where} has a column name twice in its first line.")
    rows: list[Row] = []
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(columns):
            raise UserError(f"{where}, line {number} has {len(cells)} cells, but there are {len(columns)} columns.")
        row = {
            name: _typed(cell.strip(), schema["properties"].get(name, {}).get("type"))
            for name, cell in zip(columns, cells, strict=False)
            if cell.strip()
        }
        check_schema(row, schema, f"{where}, line {number}")
        rows.append(row)
    _check_names(rows, where)
    return rows


def check_split(rows: list[Row], where: str, resolve: Callable[[str], str] = str) -> None:
    """Refuse a sheet where series of two roles are the same data.

    Parameters
    ----------
    rows : list of dict
        From `read_sheet`.
    where : str
        Name of the sheet in the sentence.
    resolve : callable, optional
        Makes one path of all ways to write a location.

    Raises
    ------
    UserError
        Naming the two series.
    """
    for index, row in enumerate(rows):
        for other in rows[:index]:
            if row["role"] != other["role"] and _same_data(row, other, resolve):
                raise UserError(
                    f"{where}: series {other['series']} ({other['role']}) and {row['series']} ({row['role']}) are the "
                    "same data; use different series for different roles."
                )


def series_of(rows: list[Row], role: str) -> list[str]:
    """Give the names of the series of a role, in the order of the sheet."""
    return [row["series"] for row in rows if row["role"] == role]


def preview_of(rows: list[Row], wanted: str | None, where: str) -> str:
    """Give the series that the pictures show: the wanted one, or the first validation, or the first test series.

    Raises
    ------
    UserError
        If the sheet has no series of the wanted name.
    """
    names = [row["series"] for row in rows]
    if wanted is None:
        return (series_of(rows, "validation") or series_of(rows, "test"))[0]
    if wanted not in names:
        raise UserError(f"{where}: preview.series is {wanted!r}, but the sheet has only {', '.join(names)}.")
    return wanted


def _check_names(rows: list[Row], where: str) -> None:
    names = [row["series"] for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{where} has the series {name} twice; give each row its own name.")
    for role in ("train", "test"):
        if not series_of(rows, role):
            raise UserError(f"{where} has no series with the role {role}; at least one is needed.")


def _same_data(one: Row, other: Row, resolve: Callable[[str], str]) -> bool:
    if one["source"] != other["source"]:
        return False
    places = [resolve(row["location"]) if "location" in row else None for row in (one, other)]
    if places[0] != places[1]:
        return False
    if one["source"] == "directory" and not ("series_instance_uid" in one and "series_instance_uid" in other):
        return True  # a row without UID means whatever series the folder holds
    return all(one.get(name) == other.get(name) for name in IDENTITY)


def _typed(cell: str, kind: Any) -> Any:
    """Give a cell the type its column wants; what does not fit stays text, so that the schema names it."""
    numbers: tuple[Callable[[str], Any], ...] = {"integer": (int,), "number": (int, float)}.get(kind, ())
    for number in numbers:
        try:
            value = number(cell)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return cell
