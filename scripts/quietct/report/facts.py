"""What was run: series, versions, machine, time and memory, in words for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from quietct.ct.volume import read_info
from quietct.report.table import number

LICENCES = {
    "phantom": "synthetic chest, computed by quietct; licence of the project (MIT)",
    "Phantom_FDA": "Phantom_FDA of The Cancer Imaging Archive, CC BY-NC 3.0; pictures made of it carry the same terms",
    "collection": "a public collection, with the licence that The Cancer Imaging Archive states for it",
    "directory": "files of the person who ran this; their licence is not known here",
}


class SeriesFacts(NamedTuple):
    """A series in words. Nothing here tells who was scanned, nor where the files came from."""

    name: str
    role: str
    target: str
    scanner: str
    kernel: str
    kvp: str
    exposure: str
    thickness: str
    size: str
    licence: str


class Stage(NamedTuple):
    """Time and memory of a rule's jobs: seconds in all and of the longest, and the most megabytes of one."""

    rule: str
    jobs: int
    total: str
    longest: str
    memory: str
    share: float


def series_facts(sheet: Sequence[Mapping[str, Any]], infos: Mapping[str, str | Path]) -> list[SeriesFacts]:
    """Describe each series of the sheet.

    Parameters
    ----------
    sheet : sequence of mappings
        Rows with `series`, `role`, `target` (list of str) and `origin`, a key of LICENCES.
    infos : mapping of str to path
        JSON of the volumes by series; series without one are described by the sheet alone.
    """
    facts = []
    for row in sheet:
        path = infos.get(row["series"])
        info = read_info(path) if path and Path(path).exists() else {}
        scanner = " ".join(str(info[key]) for key in ("manufacturer", "model") if info.get(key))
        shape = info.get("shape")
        facts.append(
            SeriesFacts(
                row["series"],
                row["role"],
                ", ".join(row["target"]) or "—",
                scanner or "—",
                str(info.get("kernel") or "—"),
                _quantity(info.get("kvp")),
                _quantity(info.get("exposure_mas")),
                _quantity(info.get("slice_thickness_mm")),
                " × ".join(map(str, shape)) if shape else "—",
                LICENCES[row["origin"]],
            )
        )
    return facts


def stages(benchmarks: str | Path) -> list[Stage]:
    """Add up Snakemake's benchmark files by rule, the longest first; an empty list where there are none.

    Parameters
    ----------
    benchmarks : path
        Folder with `<rule>/**/*.tsv`, whose columns `s` and `max_rss` are seconds and MB.
    """
    rows = []
    for path in sorted(Path(benchmarks).glob("*/**/*.tsv")):
        try:
            table = pd.read_csv(path, sep="\t")
            seconds, memory = (pd.to_numeric(table[name], errors="coerce") for name in ("s", "max_rss"))
        except (KeyError, ValueError, OSError):
            continue  # of a killed job
        rows.append((path.relative_to(benchmarks).parts[0], seconds.sum(), memory.max()))
    table = pd.DataFrame(rows, columns=["rule", "s", "mb"])
    found = table.groupby("rule").agg(jobs=("s", "size"), total=("s", "sum"), longest=("s", "max"), mb=("mb", "max"))
    found = found.sort_values("total", ascending=False)
    top = max(found["total"].max(), 1e-9) if len(found) else 1.0
    return [
        Stage(
            str(row.Index), int(row.jobs), duration(row.total), duration(row.longest),
            "—" if pd.isna(row.mb) else number(row.mb, 0), row.total / top,
        )
        for row in found.itertuples()
    ]  # fmt: skip


def duration(seconds: float) -> str:
    """Write a time: "8.3 s", "2 min 5 s", "1 h 12 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def machine_facts(record: Mapping[str, Any]) -> dict[str, str]:
    """Give versions and machine of a run record in words."""
    machine = record.get("machine") or {}
    facts = {
        "quietct": record.get("quietct"),
        "commit": record.get("commit"),
        "Python": record.get("python"),
        **(record.get("packages") or {}),
        "processor": machine.get("processor"),
        "cores": machine.get("cores"),
        "platform": machine.get("platform"),
        "BLAS": ", ".join(machine.get("blas") or []),
    }
    return {name: str(value) for name, value in facts.items() if value}


def _quantity(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "—"
