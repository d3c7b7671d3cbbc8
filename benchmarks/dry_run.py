"""Measure the dry run of an experiment beside that of a bare Snakefile with as many jobs.

    .venv/bin/python benchmarks/dry_run.py --json dry_run.json

`bare.smk` has the same rules, files and dependencies as an experiment of dose pairs, with short names and nothing else:
no functions, params, logs, benchmarks, scripts or environments, and no sheet or config to check. Both plan in empty
folders, in turns; the bare one first. Seconds are wall time and processor time of the whole command, memory the peak
of its process. Look at `load_before`: on a busy machine only ratios of processor time mean something. The time to load
is that of `--list-rules`, which reads Snakefile, config and sheet and plans nothing; every job does as much before it
starts.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import snakemake

from quietct.experiment.settings import load_yaml
from quietct.experiment.sheet import read_sheet
from quietct.experiment.targets import series_of
from quietct.methods import missing_baselines, trained_methods
from table import describe_machine, print_facts, print_table, write_json

REPOSITORY = Path(__file__).resolve().parents[1]
COLUMNS = {
    "workflow": ("workflow", "{}"),
    "jobs": ("jobs", "{:,}"),
    "seconds": ("seconds", "{:.1f}"),
    "cpu_seconds": ("CPU seconds", "{:.1f}"),
    "peak_gib": ("peak GiB", "{:.2f}"),
    "load_seconds": ("CPU seconds to load", "{:.2f}"),
    "ratio": ("ratio of seconds", "{:.2f}"),
    "cpu_ratio": ("ratio of CPU seconds", "{:.2f}"),
}


def main() -> None:
    """Measure, print and write."""
    options = read_options()
    facts = describe_machine() | {"snakemake": snakemake.__version__, "config": options.config.name}
    print_facts(facts)
    config = load_yaml(options.config)
    counts = [f"{name}={count}" for name, count in shape_of(config).items()]
    commands = {
        "bare": ["--snakefile", REPOSITORY / "benchmarks/bare.smk", "--config", *counts],
        "quietct": ["--snakefile", REPOSITORY / "Snakefile", "--configfile", options.config],
    }
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, words in commands.items():
            turns[name].append(dry_run(words))
    rows: list[dict[str, Any]] = []
    for name, measured in turns.items():
        rows.append({"workflow": name} | {key: statistics.median(one[key] for one in measured) for key in measured[0]})
        rows[-1]["peak_gib"] = max(one["peak_gib"] for one in measured)
    bare, own = rows
    own["ratio"], own["cpu_ratio"] = own["seconds"] / bare["seconds"], own["cpu_seconds"] / bare["cpu_seconds"]
    print_table(COLUMNS, rows)
    if options.json:
        write_json(options.json, COLUMNS, rows, facts)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config",
        type=Path,
        default=REPOSITORY / "config/phantom_fda_all.yaml",
        help="of dose pairs of a public collection (%(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write: a list with one object per workflow")
    parser.add_argument("--quick", action="store_true", help="a small config: shows that all works, not speed")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.config = 1, REPOSITORY / "config/phantom_fda.yaml"
    return options


def shape_of(config: dict[str, Any]) -> dict[str, int]:
    """Count what decides how many jobs an experiment has."""
    schema = load_yaml(REPOSITORY / "workflow/schemas/series.schema.yaml")
    rows = read_sheet(REPOSITORY / config["series"], schema, REPOSITORY / "resources/phantom_fda_series.tsv")
    test = len(series_of(rows, "test"))
    return {
        "train": len(series_of(rows, "train")),
        "test": test,
        "full": len(series_of(rows, "reference")),
        "repeats": max(len(row["target"]) for row in rows if "target" in row),
        "shown": min(test, config["preview"].get("most_series", test)),
        "trained": len(trained_methods(config)),
        "first": len(config["networks"]) * len(config["variants"]),
        "baselines": len(config["baselines"]) - len(missing_baselines(config["baselines"])),
        "tuning": config["tuning_slices"],
    }


def dry_run(words: list[str | Path]) -> dict[str, float]:
    """Plan in an empty folder and tell what it took."""
    with tempfile.TemporaryDirectory() as folder:
        _, load = timed([*words, "--list-rules"], folder)
        text, taken = timed([*words, "--dry-run", "--quiet", "rules"], folder)
    jobs = re.findall(r"^total +(\d+)", text, re.MULTILINE)
    return taken | {"jobs": int(jobs[-1]), "load_seconds": load["cpu_seconds"]}


def timed(words: list[str | Path], folder: str) -> tuple[str, dict[str, float]]:
    """Run Snakemake in a folder; give what it printed, and what it took."""
    command = [sys.executable, "-m", "snakemake", "--directory", folder, "--workflow-profile", "none", *words]
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{text}")
    cpu = usage.ru_utime + usage.ru_stime
    return text, {"seconds": seconds, "cpu_seconds": cpu, "peak_gib": usage.ru_maxrss / 2**20}


if __name__ == "__main__":
    main()
