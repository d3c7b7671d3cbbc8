"""Measure what each trick of the convolution gains, against what one would write without it.

    .venv/bin/python benchmarks/conv_tricks.py --json conv_tricks.json

docs/convolution.md explains the tricks. The two sides of a comparison take turns, on random images: 4 of 64², or 1 of
256². First their results are compared. Times are medians over calls, in ns per pixel of the images; a ratio above 1
says that the trick pays. All but the two workers keeps to one core.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

import layer_tricks
import network_tricks
from layer_tricks import Comparison
from table import describe_machine, let_openblas_choose, print_facts, print_table, write_json
from with_numpy import facts as blas_facts

TRICKS = layer_tricks.TRICKS + network_tricks.TRICKS
LARGEST_DIFFERENCE = 1e-3  # of the largest number; two sides that are further apart compute different things
CALLS = 3  # of one side, one after the other
COLUMNS = {
    "trick": ("trick", "{}"),
    "on": ("on", "{}"),
    "without_ns": ("without, ns/pixel", "{:.2f}"),
    "with_ns": ("with, ns/pixel", "{:.2f}"),
    "ratio": ("ratio", "{:.2f}"),
    "difference": ("difference", "{:.0e}"),
}


def main() -> None:
    """Measure, print and write."""
    options = read_options()
    let_openblas_choose()
    facts = describe_machine() | blas_facts()
    print_facts(facts)
    rows = []
    with threadpool_limits(1, "blas"):
        for trick in TRICKS:
            for comparison in trick(side=16 if options.quick else 64):
                print(f"{comparison.trick}: {comparison.on}", file=sys.stderr)
                rows.append(measure(comparison, options.seconds))
    print_table(COLUMNS, rows)
    if options.json:
        write_json(options.json, COLUMNS, rows, facts)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each side (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write: a list with one object per line of the table")
    parser.add_argument("--quick", action="store_true", help="tiny images, few calls: shows that all works, not speed")
    options = parser.parse_args()
    if options.quick:
        options.seconds = 0.0
    return options


def measure(comparison: Comparison, seconds: float) -> dict[str, Any]:
    """Compare the results of both sides, then their times; gives a row of the table."""
    expected = comparison.without().copy()
    difference = float(abs(comparison.using() - expected).max() / abs(expected).max())
    if not difference < LARGEST_DIFFERENCE:
        sys.exit(f"Wrong result: {comparison.trick}, {comparison.on}: {difference:.1e} off.")
    without, using = take_turns(comparison, seconds)
    return {
        "trick": comparison.trick,
        "on": comparison.on,
        "without_ns": 1e9 * without / comparison.pixels,
        "with_ns": 1e9 * using / comparison.pixels,
        "ratio": without / using,
        "difference": difference,
    }


def take_turns(comparison: Comparison, seconds: float) -> list[float]:
    """Give the median seconds of a call without the trick, and with it."""
    sides = comparison.without, comparison.using
    times: tuple[list[float], ...] = ([], [])
    end = time.perf_counter() + seconds * len(sides)
    while not times[1] or time.perf_counter() < end:
        for compute, of_side in zip(sides, times, strict=True):
            for _ in range(CALLS):
                start = time.perf_counter()
                compute()
                of_side.append(time.perf_counter() - start)
    return [statistics.median(of_side) for of_side in times]


if __name__ == "__main__":
    main()
