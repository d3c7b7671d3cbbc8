"""What each stage of a run cost: Snakemake's benchmark files added up by rule."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from quietct.files import written_whole


class Stage(NamedTuple):
    """Cost of all jobs of a rule.

    Attributes
    ----------
    rule : str
    jobs : int
    total_s, longest_s : float
        Seconds of all jobs together, and of the longest.
    peak_mb : float or None
        The most memory that a job took, in MB; None where every job was too short to be looked at.
    mean_load : float or None
        Per cent of one core, of all jobs together.
    """

    rule: str
    jobs: int
    total_s: float
    longest_s: float
    peak_mb: float | None
    mean_load: float | None


def read_stages(benchmarks: str | Path) -> list[Stage]:
    """Add up benchmark files by rule, the longest first; an empty list where there are none.

    Parameters
    ----------
    benchmarks : path
        Folder with `<rule>/**/*.tsv`, whose columns `s`, `max_rss` and `cpu_time` are seconds, MB and seconds of a
        core. Files that a killed job left without these are passed over.
    """
    jobs: dict[str, list[tuple[float, float | None, float | None]]] = {}
    for path in sorted(Path(benchmarks).glob("*/**/*.tsv")):
        rule = path.relative_to(benchmarks).parts[0]
        for row in _rows(path):
            seconds = _number(row.get("s"))
            if seconds is not None:
                jobs.setdefault(rule, []).append((seconds, _number(row.get("max_rss")), _number(row.get("cpu_time"))))
    return sorted((_add_up(rule, costs) for rule, costs in jobs.items()), key=lambda stage: -stage.total_s)


def write_stages(benchmarks: str | Path, path: str | Path) -> None:
    """Write the table of stages as TSV; nothing where there are no benchmark files."""
    stages = read_stages(benchmarks)
    if not stages:
        return
    with written_whole(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(Stage._fields)
        for stage in stages:
            writer.writerow(
                [stage.rule, stage.jobs, *("" if figure is None else f"{figure:.1f}" for figure in stage[2:])]
            )


def _rows(path: Path) -> Iterable[dict[str, str]]:
    try:
        return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    except (OSError, ValueError, csv.Error):
        return []


def _number(text: str | None) -> float | None:
    """Read a figure; a job that was too short to be looked at has none."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _add_up(rule: str, costs: list[tuple[float, float | None, float | None]]) -> Stage:
    seconds = [cost[0] for cost in costs]
    peaks = [cost[1] for cost in costs if cost[1] is not None]
    looked_at = sum(cost[0] for cost in costs if cost[2] is not None)
    busy = sum(cost[2] for cost in costs if cost[2] is not None)
    load = 100 * busy / looked_at if looked_at else None
    return Stage(rule, len(costs), sum(seconds), max(seconds), max(peaks, default=None), load)
