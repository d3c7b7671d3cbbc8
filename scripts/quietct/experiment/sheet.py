"""The series sheet: which CT series an experiment uses, from where, and for what."""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from quietct.errors import UserError
from quietct.experiment.collection import Series, name_series, read_collection, select_series
from quietct.experiment.named import NamedSeries, listed
from quietct.experiment.settings import check_schema
from quietct.experiment.targets import Row, noise_free, series_of, targets_of
from quietct.spread import spread_over

# Sources of public collections, whose series never change and are the same everywhere.
COLLECTIONS = ("idc", "tcia")

# What tells one scan of the synthetic chest from another. The number of slices is not in it: the first ten slices of a
# series are part of that series.
PHANTOM_IDENTITY = ("nodule_layout", "exposure_mas", "repeat")

UID = r"[0-9]+(\.[0-9]+)+"
BUCKET_FOLDER = r"s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9_.-]+)+/?"

# What a download is checked against.
EXPECTED = ("n_slices", "size_mb", "crdc_series_uuid", "aws_bucket", "usual_n_slices")


def read_sheet(
    path: str | Path, schema: Mapping[str, Any], collection: str | Path, where: str | None = None
) -> list[Row]:
    """Read a series sheet, check every row, and resolve what names series of a collection.

    Parameters
    ----------
    path : path
        Tab-separated, first line the column names. Empty lines are skipped.
    schema : dict
        `workflow/schemas/series.schema.yaml`, which holds for each row.
    collection : path
        Table of the collection, for `quietct.experiment.collection.read_collection`; read if a row is of a collection.
    where : str, optional
        Name of the sheet in sentences; `path` if absent.

    Returns
    -------
    list of dict
        One per series; empty cells are left out, numbers are numbers. A row of a collection has `series_instance_uid`
        instead of `select`, and, if the series is in the table, `expected`: the cells that a download is checked
        against; `row`, the name of the row that it was, if that had a `select`. A row of source `idc` has the
        `location` of its folder. A `target` is the list of the series that it means, and `target_same` is gone.

    Raises
    ------
    UserError
        If the file is absent or no table, a cell is wrong, a name appears twice, a target is not in the sheet, or
        there is nothing to train on or nothing to test on.
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
    lines: dict[str, int] = {}  # of each name
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(columns):
            raise UserError(f"{where}, line {number} has {len(cells)} cells, but there are {len(columns)} columns.")
        row = {
            name: _typed(name, cell.strip(), schema["properties"].get(name, {}).get("type"))
            for name, cell in zip(columns, cells, strict=False)
            if cell.strip()
        }
        check_schema(row, schema, f"{where}, line {number}")
        try:
            resolved = _resolved(row, str(collection)) if row["source"] in COLLECTIONS else [row]
            for one in resolved:
                _check_name(one, lines)
                lines[one["series"]] = number
        except UserError as error:
            raise UserError(f"{where}, line {number}: {error}") from None
        rows += resolved
    named = NamedSeries(rows, _collection(str(collection))[1] if any("target_same" in row for row in rows) else None)
    for row in rows:
        if "target" in row:
            try:
                row["target"] = targets_of(row, named)
            except UserError as error:
                raise UserError(f"{where}, line {lines[row['series']]}: {error}") from None
            row.pop("target_same", None)
    for role in ("train", "test"):
        if not series_of(rows, role):
            raise UserError(f"{where} has no series with the role {role}; at least one is needed.")
    return rows


def dataset_of(row: Row) -> str:
    """Give the name of the DICOM folder of a row: all runs and sheets share the one of a collection's series."""
    return row["series_instance_uid"] if row["source"] in COLLECTIONS else row["series"]


def selection_of(row: Row, unusable: str, download: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the source of a row is told besides the location, as plain values.

    Parameters
    ----------
    row : dict
        From `read_sheet`.
    unusable : {'strict', 'skip'}
        What to do with unfit DICOM files.
    download : dict
        From `quietct.experiment.settings.download_settings`.
    """
    if row["source"] == "phantom":
        return {key: row.get(key) for key in (*PHANTOM_IDENTITY, "n_slices", "slice_spacing_mm")}
    if row["source"] == "directory":
        return {key: row.get(key) for key in ("series_instance_uid", "acquisition_number")} | {"unusable": unusable}
    return {
        "series_instance_uid": row["series_instance_uid"],
        "expected": row.get("expected"),
        "downloads": "resources/downloads",
        "endpoint": download[f"{row['source']}_endpoint"],
        "retries": download["retries"],
        "timeout_s": download["timeout_s"],
    }


def check_split(rows: list[Row], where: str, resolve: Callable[[str], str] = str) -> None:
    """Refuse a sheet where two series are the same data.

    A series of the role `apply` may be the data of another one: no number is made of it.

    Parameters
    ----------
    rows : list of dict
        From `read_sheet`.
    where : str
        Name of the sheet in the sentence.
    resolve : callable, optional
        Makes one path of all ways to write the location of a folder or file.

    Raises
    ------
    UserError
        Naming the two series.
    """
    alike: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        for key in _identities(row, resolve):
            for other in alike[key]:
                if _same_data(row, other) and (row["role"] == "apply") == (other["role"] == "apply"):
                    names = " and ".join(f"{one['series']} ({one['role']})" for one in (other, row))
                    cure = "remove one"
                    if row["role"] != other["role"]:
                        cure = "use different series for different roles, or one row with the role both"
                    raise UserError(f"{where}: series {names} are the same data; {cure}.")
            alike[key].append(row)


def preview_of(rows: list[Row], wanted: str | None, where: str) -> str:
    """Give the series that the pictures show: the wanted one, or the first validation, or the first test series.

    Raises
    ------
    UserError
        If the sheet has no series of the wanted name, or it is only the target of others.
    """
    names = [row["series"] for row in rows]
    if wanted is None:
        return (series_of(rows, "validation") or series_of(rows, "test"))[0]
    if wanted not in names:
        raise UserError(f"{where}: preview.series is {wanted!r}, but the sheet has only {listed(rows)}.")
    if wanted in series_of(rows, "reference"):
        raise UserError(
            f"{where}: preview.series is {wanted!r}, which is a reference; choose a series that is denoised."
        )
    if wanted in series_of(rows, "apply"):
        raise UserError(
            f"{where}: preview.series is {wanted!r}, which has the role apply; choose a series that has a target."
        )
    return wanted


def shown_of(tested: Sequence[str], preview: str, most: int | None) -> list[str]:
    """Choose the test series that pictures show one by one.

    Parameters
    ----------
    tested : sequence of str
        Names of the test series.
    preview : str
        Is among the chosen if it is a test series.
    most : int or None
        How many to choose, spread evenly over the others; None for all.
    """
    if most is None or len(tested) <= most:
        return list(tested)
    others = [series for series in tested if series != preview]
    chosen = {preview, *spread_over(others, most - (preview in tested))}
    return [series for series in tested if series in chosen]


@cache
def _collection(path: str) -> tuple[list[Series], dict[str, Series]]:
    """Read the table once, and only if a row needs it: the workflow reads its sheet again for every job."""
    table = read_collection(path)
    return table, {row["SeriesInstanceUID"]: row for row in table}


def _resolved(row: Row, collection: str) -> list[Row]:
    """Make one row with a UID for each series of a collection that a row means."""
    if ("select" in row) == ("series_instance_uid" in row):
        raise UserError(f"a row of source {row['source']} needs either series_instance_uid or select.")
    if row["source"] == "idc" and not re.fullmatch(BUCKET_FOLDER, row.get("location", "s3://bucket/folder")):
        raise UserError(f"location is {row['location']!r}, but a folder of source idc is s3://<bucket>/<folder>.")
    table, by_uid = _collection(collection)
    rest = {key: value for key, value in row.items() if key != "select"}
    if "select" in row:
        try:
            chosen = select_series(table, row["select"])
        except UserError as error:
            raise UserError(f"select: {error}") from None
        names = name_series(row["series"], chosen)
    else:
        uid = row["series_instance_uid"]
        if uid not in by_uid:
            return [_outside_the_table(row, collection)]
        chosen, names = [by_uid[uid]], [row["series"]]
    found = []
    for name, series in zip(names, chosen, strict=True):
        if row.get("n_slices", 1) > series["n_slices"]:
            raise UserError(f"n_slices is {row['n_slices']}, but series {name} has only {series['n_slices']}.")
        own = {"series": name, "series_instance_uid": series["SeriesInstanceUID"]}
        if "select" in row:
            own["row"] = row["series"]
        if row["source"] == "idc":
            own["location"] = row.get("location", f"s3://{series['aws_bucket']}/{series['crdc_series_uuid']}")
        found.append({**rest, **own, "expected": {key: series[key] for key in EXPECTED}})
    return found


def _outside_the_table(row: Row, collection: str) -> Row:
    if row["source"] == "idc" and "location" not in row:
        raise UserError(
            f"series_instance_uid {row['series_instance_uid']} is not in {Path(collection).name}; "
            "name the folder that holds the series in its bucket as location, s3://<bucket>/<folder>."
        )
    return row


def _check_name(row: Row, lines: Mapping[str, int]) -> None:
    name = row["series"]
    if name in lines:
        raise UserError(f"line {lines[name]} already has the series {name}; give each row its own name.")
    # Its DICOM folder would be that of the collection's series with this UID.
    if row["source"] not in COLLECTIONS and re.fullmatch(UID, name):
        raise UserError(f"the name {name} looks like a UID; put a letter into it.")


def _identities(row: Row, resolve: Callable[[str], str]) -> Iterator[Any]:
    """Give what a row may have in common with another one of the same data."""
    if row["source"] == "phantom":
        yield tuple(None if name == "repeat" and noise_free(row) else row.get(name) for name in PHANTOM_IDENTITY)
    if row["source"] == "directory":
        yield resolve(row["location"])
    if "series_instance_uid" in row:
        yield row["series_instance_uid"]


def _same_data(one: Row, other: Row) -> bool:
    """Whether two rows that have an identity in common are the same data."""
    for key in ("acquisition_number", "series_instance_uid"):
        # A folder can hold several series, a series several acquisitions; a row that names none means any.
        if key in one and key in other and one[key] != other[key]:
            return False
    return True


def _typed(column: str, cell: str, kind: Any) -> Any:
    """Give a cell the type its column wants; what does not fit stays text, so that the schema names it."""
    if (column, cell) == ("exposure_mas", "inf"):  # the phantom without noise
        return math.inf
    numbers: tuple[Callable[[str], Any], ...] = {"integer": (int,), "number": (int, float)}.get(kind, ())
    for number in numbers:
        try:
            value = number(cell)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return cell
