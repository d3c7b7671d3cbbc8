"""Compare the time of denoising one slice with that of PyTorch, side by side in one run.

    .venv/bin/pip install torch==2.13.0
    .venv/bin/python benchmarks/denoise_slice.py --json denoise_slice.json

A slice of 512 x 512 pixels in HU goes through chen2017 and comes out in HU, as in `quietct denoise`: NumPy with two
workers and with one, PyTorch with as many threads. As in conv_vs_pytorch.py there is PyTorch as one writes it and
tuned, each in both memory layouts, of which the faster one counts; contenders take turns, and before anything is timed,
all results are compared with those of PyTorch in float64. Times are medians over rounds; a ratio is PyTorch's time by
NumPy's: above 1, NumPy is faster.
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

from contender import Contender
from conv_vs_pytorch import LARGEST_ERROR, PAUSE_SECONDS, TUNED, relative_error
from table import describe_machine, let_openblas_choose, print_facts, print_table, write_json
from workloads import WORKLOADS, Workload

CONTENDERS = {"numpy": ("with_numpy", {}), "torch": ("with_pytorch", {}), "torch_tuned": ("with_pytorch", TUNED)}
COLUMNS = {
    "side": ("side", "{}"),
    "threads": ("threads", "{}"),
    "numpy_ms": ("NumPy ms", "{:.1f}"),
    "torch_ms": ("PyTorch ms", "{:.1f}"),
    "torch_layout": ("layout", "{}"),
    "torch_tuned_ms": ("tuned ms", "{:.1f}"),
    "torch_tuned_layout": ("layout", "{}"),
    "ratio": ("ratio", "{:.2f}"),
    "ratio_tuned": ("to tuned", "{:.2f}"),
    "max_relative_error": ("error", "{:.0e}"),
}
Contenders = dict[tuple[int, str], Contender]  # by threads and name
Times = dict[tuple[int, str, str], list[float]]  # milliseconds of every turn, by threads, name and variant


def main() -> None:
    """Check, measure, print and write."""
    options = read_options()
    if not options.keep_coretype:
        let_openblas_choose()
    workload = WORKLOADS["d"].shrunk(samples=1, side=48 if options.quick else options.side)
    facts = describe_machine()
    with ExitStack() as stack:
        contenders = {
            (threads, name): stack.enter_context(Contender(module, threads, environment))
            for threads in options.threads
            for name, (module, environment) in CONTENDERS.items()
        }
        for contender in contenders.values():
            facts |= contender.ask("facts")
        print_facts(facts)
        errors = check(contenders, workload)
        times = take_turns(contenders, workload, options.rounds, options.seconds)
    rows = [
        compare(threads, times) | {"side": workload.side, "max_relative_error": errors[threads]}
        for threads in options.threads
    ]
    print_table(COLUMNS, rows)
    if options.json:
        write_json(options.json, COLUMNS, rows, facts)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--side", type=int, default=512, help="rows and columns of the slice, at most 512 (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=11, help="turns of every contender (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write: a list with one object per line of the table")
    parser.add_argument("--keep-coretype", action="store_true", help="heed OPENBLAS_CORETYPE if it is set")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny slice, two threads, one round: shows that all works, not speed"
    )
    options = parser.parse_args()
    options.threads = (2, 1)
    if options.quick:
        options.threads, options.rounds, options.seconds = (2,), 1, 0.0
    if importlib.util.find_spec("torch") is None:
        sys.exit("PyTorch is not installed: pip install torch==2.13.0")
    return options


def check(contenders: Contenders, workload: Workload) -> dict[int, float]:
    """Compare all results with that of PyTorch in float64; gives NumPy's largest difference by threads."""
    reference = contenders[2, "torch"].ask("result", workload, "float64", "denoise")
    errors = {}
    for (threads, name), contender in contenders.items():
        for variant in contender.ask("variants"):
            error = relative_error(contender.ask("result", workload, variant, "denoise"), reference)
            if not error < LARGEST_ERROR:
                sys.exit(f"Wrong result: {name} {variant} with {threads} threads: {error:.1e} off.")
            if name == "numpy":
                errors[threads] = error
    return errors


def take_turns(contenders: Contenders, workload: Workload, rounds: int, seconds: float) -> Times:
    """Time everything in every round, one contender at a time, each round beginning with another one."""
    times: Times = defaultdict(list)
    order = list(contenders)
    for k in range(rounds):
        print(f"round {k + 1} of {rounds}", file=sys.stderr)
        first = k % len(order)
        for key in order[first:] + order[:first]:
            for variant in contenders[key].ask("variants"):
                times[*key, variant].append(contenders[key].ask("milliseconds", workload, variant, "denoise", seconds))
                time.sleep(PAUSE_SECONDS)
    return times


def compare(threads: int, times: Times) -> dict[str, Any]:
    """Make a row of the table: medians over the rounds, of the faster layout, and ratios."""
    row: dict[str, Any] = {"threads": threads}
    for name in CONTENDERS:
        medians = {
            v: statistics.median(turns) for (n, other, v), turns in times.items() if (n, other) == (threads, name)
        }
        fastest = min(medians, key=medians.__getitem__)
        row |= {f"{name}_ms": medians[fastest], f"{name}_layout": fastest}
    return row | {
        "ratio": row["torch_ms"] / row["numpy_ms"],
        "ratio_tuned": row["torch_tuned_ms"] / row["numpy_ms"],
    }


if __name__ == "__main__":
    main()
