"""What was run: series, versions, machine, time and memory, in words for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from quietct.ct.volume import read_info
from quietct.report.table import number
from quietct.workflow.stages import read_stages

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


class StageRow(NamedTuple):
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


def stage_rows(benchmarks: str | Path) -> list[StageRow]:
    """Write the cost of each stage for people, the longest first; see `quietct.workflow.stages.read_stages`."""
    found = read_stages(benchmarks)
    top = max((stage.total_s for stage in found), default=0.0) or 1.0
    return [
        StageRow(
            stage.rule, stage.jobs, duration(stage.total_s), duration(stage.longest_s),
            "—" if stage.peak_mb is None else number(stage.peak_mb, 0), stage.total_s / top,
        )
        for stage in found
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
