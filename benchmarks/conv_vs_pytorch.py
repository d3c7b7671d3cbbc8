"""Compare quietct's convolution in NumPy with PyTorch, side by side in one run.

    .venv/bin/pip install torch==2.13.0
    .venv/bin/python benchmarks/conv_vs_pytorch.py --json conv_vs_pytorch.json

Each contender has a process of its own: NumPy; PyTorch as one writes it; PyTorch tuned, with ReLUs in place and an
allocator that keeps freed memory; and for the article's network SciPy. They take turns, so that whatever else the
machine does meets all alike. PyTorch computes in both memory layouts, and the faster one counts. Before anything is
timed, all results are compared with those of PyTorch in float64. Times are medians over rounds; a ratio is the other's
time by NumPy's: above 1, NumPy is faster.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from contender import Contender
from memory import KNOWN_HERE, extra_mib
from table import describe_machine, let_openblas_choose, print_facts, print_table, write_json
from workloads import WORKLOADS, Workload

# ReLUs in place; glibc: take memory from one heap, and never give any of it back.
TUNED = {
    "RELU_IN_PLACE": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "500000000",
}
MODULES = {"numpy": "with_numpy", "torch": "with_pytorch", "torch_tuned": "with_pytorch", "scipy": "with_scipy"}
PAUSE_SECONDS = 0.05  # PyTorch's threads keep their cores busy for a while after their work is done
LARGEST_ERROR = 1e-3  # a contender that is further off computes something else
COLUMNS = {
    "workload": ("workload", "{}"),
    "phase": ("phase", "{}"),
    "numpy_ms": ("NumPy ms", "{:.2f}"),
    "torch_ms": ("PyTorch ms", "{:.2f}"),
    "torch_layout": ("layout", "{}"),
    "torch_tuned_ms": ("tuned ms", "{:.2f}"),
    "torch_tuned_layout": ("layout", "{}"),
    "scipy_ms": ("SciPy ms", "{:.2f}"),
    "ratio": ("ratio", "{:.2f}"),
    "ratio_tuned": ("to tuned", "{:.2f}"),
    "ratio_scipy": ("to SciPy", "{:.1f}"),
    "max_relative_error": ("error", "{:.0e}"),
    "torch_max_relative_error": ("PyTorch's", "{:.0e}"),
    "numpy_mib": ("NumPy MiB", "{:.0f}"),
    "torch_mib": ("PyTorch MiB", "{:.0f}"),
    "torch_tuned_mib": ("tuned MiB", "{:.0f}"),
}


def main() -> None:
    """Check, measure, print and write."""
    options = read_options()
    if not options.keep_coretype:
        let_openblas_choose()
    workloads = [WORKLOADS[name] for name in options.workloads]
    if options.quick:
        workloads = [workload.shrunk(samples=4, side=32) for workload in workloads]
    facts = describe_machine() | {"threads": options.threads}
    with ExitStack() as stack:
        contenders = {name: stack.enter_context(start(name, options)) for name in MODULES}
        for contender in contenders.values():
            facts |= contender.ask("facts")
        print_facts(facts)
        errors = check(contenders, workloads)
        times = take_turns(contenders, workloads, options.rounds, options.seconds)
    rows = []
    for workload in workloads:
        for phase in workload.phases:
            row = compare(workload, phase, times) | errors[workload, phase]
            rows.append(row | (memory_of(workload, row, options) if phase != "forward" else {}))
    print_table(COLUMNS, rows)
    if options.json:
        write_json(options.json, COLUMNS, rows, facts)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="workloads: " + "; ".join(f"{workload.name} {workload.title}" for workload in WORKLOADS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="letters with commas between; all by default")
    parser.add_argument("--rounds", type=int, default=11, help="turns of every contender (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of a turn (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's threads, and NumPy's workers (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write: a list with one object per line of the table")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--keep-coretype", action="store_true", help="heed OPENBLAS_CORETYPE if it is set")
    parser.add_argument("--quick", action="store_true", help="tiny images, one round: shows that all works, not speed")
    options = parser.parse_args()
    options.workloads = options.workloads.split(",")
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"unknown workload {', '.join(sorted(unknown))}; known are {', '.join(WORKLOADS)}")
    if options.quick:
        options.rounds, options.seconds, options.no_memory = 1, 0.0, True
    if importlib.util.find_spec("torch") is None:
        sys.exit("PyTorch is not installed: pip install torch==2.13.0")
    return options


def start(name: str, options: argparse.Namespace) -> Contender:
    """Start the process of a contender with the environment that belongs to it."""
    environment = {}
    if name == "torch_tuned":
        environment = TUNED
    return Contender(MODULES[name], options.threads, environment)


def competing(workload: Workload) -> list[str]:
    """Name the contenders of a workload. SciPy computes what the article computed with it."""
    return [name for name in MODULES if name != "scipy" or workload.network == "article"]


def check(contenders: dict[str, Contender], workloads: list[Workload]) -> dict[tuple[Workload, str], dict[str, float]]:
    """Compare all results with those of PyTorch in float64.

    Returns
    -------
    dict
        By workload and phase, `max_relative_error` of NumPy and `torch_max_relative_error` of PyTorch: the largest
        difference in an array by the largest number in it, and of these the largest over all arrays.
    """
    errors: dict[tuple[Workload, str], dict[str, float]] = defaultdict(dict)
    for workload in workloads:
        reference = contenders["torch"].ask("results", workload, "float64")
        for name in competing(workload):
            for variant in contenders[name].ask("variants"):
                for phase, arrays in contenders[name].ask("results", workload, variant).items():
                    error = max(map(relative_error, arrays, reference[phase]))
                    if not error < LARGEST_ERROR:
                        sys.exit(f"Wrong result: {name} {variant}, {workload.title}, {phase}: {error:.1e} off.")
                    of_row = errors[workload, phase]
                    if name == "numpy":
                        of_row["max_relative_error"] = error
                    elif name == "torch":
                        key = "torch_max_relative_error"
                        of_row[key] = max(of_row.get(key, 0.0), error)
    return errors


def relative_error(array: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference by largest number."""
    return float(abs(array.reshape(reference.shape) - reference).max() / abs(reference).max())


# By workload, phase, contender and variant: milliseconds of every turn.
Times = dict[tuple[Workload, str, str, str], list[float]]


def take_turns(contenders: dict[str, Contender], workloads: list[Workload], rounds: int, seconds: float) -> Times:
    """Time everything in every round, one contender at a time, each round beginning with another one."""
    times: Times = defaultdict(list)
    work = [(workload, phase) for workload in workloads for phase in workload.phases]
    for k in range(rounds):
        print(f"round {k + 1} of {rounds}", file=sys.stderr)
        for workload, phase in work:
            names = competing(workload)
            first = k % len(names)
            for name in names[first:] + names[:first]:
                for variant in contenders[name].ask("variants"):
                    turn = contenders[name].ask("milliseconds", workload, variant, phase, seconds)
                    times[workload, phase, name, variant].append(turn)
                    time.sleep(PAUSE_SECONDS)
    return times


def compare(workload: Workload, phase: str, times: Times) -> dict[str, Any]:
    """Make a row of the table: medians over the rounds, of the faster layout, and ratios."""
    row: dict[str, Any] = {"workload": workload.name, "phase": phase}
    for name in competing(workload):
        medians = {
            variant: statistics.median(turns)
            for (*key, variant), turns in times.items()
            if key == [workload, phase, name]
        }
        fastest = min(medians, key=medians.__getitem__)
        row |= {f"{name}_ms": medians[fastest], f"{name}_layout": fastest}
    for name, ratio in (("torch", "ratio"), ("torch_tuned", "ratio_tuned"), ("scipy", "ratio_scipy")):
        if name in competing(workload):
            row[ratio] = row[f"{name}_ms"] / row["numpy_ms"]
    return row


def memory_of(workload: Workload, row: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """Measure the memory of the contenders, PyTorch in the layout that was faster, in MiB."""
    if options.no_memory or not KNOWN_HERE:
        return {}
    mib = {}
    for name in ("numpy", "torch", "torch_tuned"):
        with start(name, options) as contender:
            mib[f"{name}_mib"] = extra_mib(contender, workload, row[f"{name}_layout"])
    return mib


if __name__ == "__main__":
    main()
