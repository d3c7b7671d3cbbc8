"""The table that a benchmark prints and writes, and the machine that it is about."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quietct.workflow.record import processor_name

# By key of a row: heading, and how a value is printed.
Columns = Mapping[str, tuple[str, str]]


def describe_machine() -> dict[str, Any]:
    """Tell on what is measured, and how busy it was before: on an idle machine the load is near 0."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def let_openblas_choose() -> None:
    """Begin anew without OPENBLAS_CORETYPE, if it is set: PyTorch too chooses what is best for the processor.

    OpenBLAS reads it while NumPy is imported.
    """
    if os.environ.pop("OPENBLAS_CORETYPE", ""):
        os.execv(sys.executable, [sys.executable, *sys.argv])


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print a line for each fact."""
    print(*(f"{key}: {value}" for key, value in facts.items()), sep="\n", flush=True)


def print_table(columns: Columns, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the columns that hold anything; a row may lack keys."""
    table = []
    for key, (heading, shape) in columns.items():
        cells = [shape.format(row[key]) if key in row else "" for row in rows]
        if any(cells):
            table.append([heading, *cells])
    widths = [max(map(len, column)) for column in table]
    for cells in zip(*table, strict=True):
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def write_json(path: Path, columns: Columns, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
    """Write a list with one object per row: all columns, null where the row lacks them, and the facts."""
    complete = [{key: row.get(key) for key in columns} | facts for row in rows]
    path.write_text(json.dumps(complete, indent=1) + "\n", encoding="utf-8")
