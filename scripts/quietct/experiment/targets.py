"""Targets of a series sheet: what each series is compared with, and that nothing tested was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quietct.errors import UserError
from quietct.experiment.named import NamedSeries, Row, listed

# Roles that a series of the role `both` has at once.
BOTH = ("train", "test")


def series_of(rows: Iterable[Row], role: str) -> list[str]:
    """Give the names of the series of a role, in the order of the sheet; `both` counts as `train` and as `test`."""
    return [row["series"] for row in rows if row["role"] == role or (row["role"] == "both" and role in BOTH)]


def targets_of(row: Row, named: NamedSeries) -> list[str]:
    """Resolve the cells `target` and `target_same` of a row.

    Parameters
    ----------
    row : dict
        With the cell `target` as text: one or more names with `|` between them; if there is a cell `target_same`,
        those of them count whose cells of these columns, with commas between, are the row's own.
    named : NamedSeries
        All series of the sheet.

    Returns
    -------
    list of str
        Names of series in the order of the cell, each once, without the row's own.

    Raises
    ------
    UserError
        If a name is unknown, nothing is left, or one of the two rows has a role in which it cannot be.
    """
    if row["role"] in ("reference", "apply"):
        raise UserError(f"a row with the role {row['role']} has no target of its own; leave the cell empty.")
    same = tuple(part.strip() for part in row["target_same"].split(",")) if "target_same" in row else ()
    found: list[str] = []
    for name in (part.strip() for part in row["target"].split("|")):
        if not named.find(name):
            others = listed(other for rows in named.by_name.values() for other in rows if other is not row)
            raise UserError(f"the target {name!r} of series {row['series']} is not in the sheet, which has {others}.")
        meant = named.find_alike(name, row, same) if same else named.find(name)
        check_not_applied(meant, f"the target {name!r} of series {row['series']}")
        found += [one["series"] for one in meant]
    targets = [name for name in dict.fromkeys(found) if name != row["series"]]
    if not targets and same:
        raise UserError(
            f"series {row['series']} has no target, because no series of {row['target']} has the same "
            f"{', '.join(same)}; name fewer columns under target_same, or leave the series out of the row."
        )
    if not targets:
        raise UserError(f"series {row['series']} is its own only target; name another one, or leave the cell empty.")
    return targets


def check_not_applied(rows: Iterable[Row], what: str) -> None:
    """Refuse series of the role `apply`, of which there is no volume; `what` is the beginning of the sentence."""
    if any(row["role"] == "apply" for row in rows):
        raise UserError(
            f"{what} has the role apply and is only denoised; add a row of its data with the role reference."
        )


def calibrations_of(config: Mapping[str, Any], rows: Sequence[Row], where: str) -> dict[str, list[str]]:
    """Give the series of each calibration.

    Parameters
    ----------
    config : mapping
        A checked config.
    rows : sequence of dict
        From `quietct.experiment.sheet.read_sheet`.
    where : str
        Name of the config file for the sentence.

    Raises
    ------
    UserError
        If a name is not in the sheet, or is only denoised, or it is one series alone.
    """
    found = {}
    named = NamedSeries(rows)
    for name, entry in config.get("calibration", {}).items():
        key = f"{where}: calibration.{name}.series"
        for wanted in entry["series"]:
            if not named.find(wanted):
                raise UserError(f"{key} has {wanted!r}, but the sheet has only {listed(rows)}.")
            check_not_applied(named.find(wanted), f"{key} has {wanted!r}, which")
        found[name] = list(dict.fromkeys(one["series"] for wanted in entry["series"] for one in named.find(wanted)))
        if len(found[name]) < 2:
            raise UserError(f"{key} is {found[name][0]} alone, but noise is told from what differs between repeats.")
    return found


def check_targets(rows: Sequence[Row], config: Mapping[str, Any], where: str, config_file: str) -> None:
    """Refuse a sheet whose roles and targets do not fit a config, or that would test what was trained on.

    Parameters
    ----------
    rows : sequence of dict
        From `quietct.experiment.sheet.read_sheet`.
    config : mapping
        A checked config.
    where, config_file : str
        Names of the sheet and the config for the sentence.

    Raises
    ------
    UserError
        Naming the series.
    """
    measured = [name for name, noise in config["noise"].items() if noise["model"] == "measured"]
    used = {name for row in rows for name in row.get("target", [])}
    used.update(*calibrations_of(config, rows, config_file).values())
    for row in rows:
        series, role = row["series"], row["role"]
        if role == "reference":
            if series not in used:
                raise UserError(
                    f"{where}: series {series} has the role reference, but is nobody's target and in no calibration "
                    f"of {config_file}; name it as a target, or remove the row."
                )
        elif measured and "target" not in row and role != "apply":
            raise UserError(
                f"{where}: series {series} needs a target, because the model of noise {measured[0]} in {config_file} "
                "is measured; name better scans of the same object in the column target."
            )
        if role == "both" and "split" not in config:
            raise UserError(
                f"{where}: series {series} has the role both, which needs the key split in {config_file}, so that it "
                "is trained on and tested on at different heights."
            )
    if "split" not in config:
        _check_apart(rows, where)


def task_of(series: str) -> str:
    """Name of the detection task of a series, which stands beside the names of series."""
    return f"{series}_detection"


def check_tasks(rows: Sequence[Row], config: Mapping[str, Any], where: str) -> None:
    """Refuse a sheet in which a series has the name of another one's detection task.

    Parameters
    ----------
    rows : sequence of dict
        From `quietct.experiment.sheet.read_sheet`.
    config : mapping
        A checked config.
    where : str
        Name of the sheet for the sentence.

    Raises
    ------
    UserError
        Naming the two series.
    """
    names = {row["series"] for row in rows}
    chests = [row for row in rows if row["source"] == "phantom"]
    for series in series_of(chests, "test") if "detection" in config else []:
        if task_of(series) in names:
            raise UserError(
                f"{where}: series {task_of(series)} has the name of the detection task of series {series}; "
                "give it another one."
            )


def noise_free(row: Row) -> bool:
    """Whether a series is the exact truth: a scan of the synthetic chest with endless exposure."""
    return row.get("exposure_mas") == math.inf


def _check_apart(rows: Sequence[Row], where: str) -> None:
    """Refuse scans that serve training, as input or target, and testing at once."""
    trained = {name: row["series"] for row in rows if row["role"] == "train" for name in _scans(row)}
    for row in rows:
        for name in _scans(row) if row["role"] == "test" else []:
            if name in trained:
                raise UserError(
                    f"{where}: series {trained[name]} (train) and {row['series']} (test) share the scan {name}; use "
                    "different series, or keep the two apart by height with the config key split."
                )


def _scans(row: Row) -> list[str]:
    return [row["series"], *row.get("target", [])]
