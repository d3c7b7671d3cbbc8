"""How much memory a train step takes beside its data. Linux alone tells it."""

from __future__ import annotations

import sys
from pathlib import Path

from contender import Contender
from workloads import Workload

STEPS = 5
KNOWN_HERE = sys.platform == "linux"


def extra_mib(contender: Contender, workload: Workload, variant: str) -> float:
    """Measure the memory that train steps add to a fresh process that has the data already.

    A process without children is asked for its own peak. With forked children, pages that several share must not
    count twice: their proportional set sizes are added up, again and again while the steps run.

    Parameters
    ----------
    contender : Contender
        Just started.
    workload : Workload
    variant : str

    Returns
    -------
    float
        MiB.
    """
    phase = workload.phases[-1]
    # Code that is loaded at the first use is no memory of the step.
    contender.ask("repeat", workload.shrunk(samples=1, side=32), variant, phase, 1)
    contender.ask("prepare", workload, variant)
    pid = contender.process.pid
    family_before, before = proportional(pid), status(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak so far
    family_peak = family_before
    contender.send("repeat", workload, variant, phase, STEPS)
    while not contender.answered(seconds=0.002):
        family_peak = max(family_peak, proportional(pid))
    family_peak = max(family_peak, proportional(pid))
    contender.receive()
    alone = not children(pid)
    return (status(pid, "VmHWM") - before if alone else family_peak - family_before) / 1024


def status(pid: int, field: str) -> int:
    """Read a field of a process's status, KiB."""
    return read_kib(Path(f"/proc/{pid}/status"), field)


def children(pid: int) -> list[int]:
    """List the living children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def proportional(pid: int) -> int:
    """Add up the proportional set sizes of a process and its descendants, KiB."""
    try:
        return read_kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss") + sum(map(proportional, children(pid)))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def read_kib(path: Path, field: str) -> int:
    """Read a line such as `VmRSS:    1234 kB`."""
    with path.open() as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{field}:"))
