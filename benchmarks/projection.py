"""Project time, storage and cost of the whole collection on a cluster from the measured costs of its stages.

    .venv/bin/python benchmarks/stage_costs.py --json stage_costs.json
    .venv/bin/python benchmarks/projection.py stage_costs.json --picture time_by_nodes.png

Counts slices and jobs of config/phantom_fda_all.yaml in its sheet and multiplies. Three phases follow each other: data
(download, convert, match, cut patches), training, and testing (denoise, measure). In a phase all cores are busy; the
download takes as long as the line allows, beside the rest of its phase; a training is one job, and more nodes make it
no shorter. Pictures, tables and the report are not counted: few jobs, not measured here.
"""

import argparse
import json
from math import prod
from pathlib import Path
from typing import Any

from quietct.experiment.settings import load_yaml
from quietct.experiment.sheet import read_sheet
from quietct.experiment.targets import series_of
from quietct.methods import trained_methods
from table import print_table

REPOSITORY = Path(__file__).resolve().parents[1]
NODES = (1, 4, 16, 64)
PHASES = ("data", "training", "testing")
STAGE_COLUMNS = {
    "phase": ("phase", "{}"),
    "stage": ("stage", "{}"),
    "jobs": ("jobs", "{:,}"),
    "units": ("slices or steps", "{:,}"),
    "cpu_seconds": ("CPU s each", "{:.4f}"),
    "core_hours": ("core-hours", "{:,.1f}"),
}
STORAGE_COLUMNS = {"files": ("files", "{}"), "gb": ("GB", "{:,.1f}")}
NODE_COLUMNS = {
    "nodes": ("nodes", "{}"),
    "data": ("data h", "{:.1f}"),
    "training": ("training h", "{:.1f}"),
    "testing": ("testing h", "{:.1f}"),
    "hours": ("together h", "{:.1f}"),
    "cost": ("cost", "{:,.0f}"),
}


def main() -> None:
    """Multiply and print."""
    options = read_options()
    measured = {row["stage"]: row for row in json.loads(options.costs.read_text())}
    counts = counted(load_yaml(REPOSITORY / "config/phantom_fda_all.yaml"))
    stages = stage_rows(counts, measured)
    print_table(STAGE_COLUMNS, stages)
    print()
    storage = storage_rows(counts, measured)
    print_table(STORAGE_COLUMNS, storage)
    total = sum(row["gb"] for row in storage)
    print(f"together {total:,.0f} GB; a month of it costs {total * options.price_gb_month:,.0f}\n")
    nodes = node_rows(counts, stages, measured, options)
    print_table(NODE_COLUMNS, nodes)
    if options.picture:
        draw(nodes, options.picture)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("costs", type=Path, help="file that stage_costs.py wrote")
    parser.add_argument("--cores", type=int, default=16, help="of a node (%(default)s)")
    parser.add_argument("--mbit", type=float, default=1000, help="Mbit/s of the download (%(default)s, the profile's)")
    parser.add_argument("--price-core-hour", type=float, default=0.05, help="put in your own (%(default)s)")
    parser.add_argument("--price-gb-month", type=float, default=0.02, help="put in your own (%(default)s)")
    parser.add_argument("--picture", type=Path, help="PNG to write: time by nodes")
    return parser.parse_args()


def counted(config: dict[str, Any]) -> dict[str, Any]:
    """Count series and slices by role, and methods."""
    schema = load_yaml(REPOSITORY / "workflow/schemas/series.schema.yaml")
    rows = read_sheet(REPOSITORY / config["series"], schema, REPOSITORY / "resources/phantom_fda_series.tsv")
    slices = {row["series"]: row["expected"]["n_slices"] for row in rows}
    train, test = series_of(rows, "train"), series_of(rows, "test")
    return {
        "series": len(rows),
        "slices": sum(slices.values()),
        "dicom_gb": sum(row["expected"]["size_mb"] for row in rows) / 1000,
        "train": len(train),
        "train_slices": sum(slices[name] for name in train),
        "test": len(test),
        "test_slices": sum(slices[name] for name in test),
        "trainings": len(trained_methods(config)),
        "epochs": config["train"]["epochs"],
        "per_slice": config["patches"]["per_slice"],
        "batch": config["train"]["batch_size"],
        "networks": len(config["networks"]),
        "baselines": {
            name: config["tuning_slices"] * prod(map(len, grid.values())) for name, grid in config["baselines"].items()
        },
    }


def stage_rows(counts: dict[str, Any], measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Multiply the cost of a slice or step by their number, and add the start of each job."""
    pairs, pair_slices = counts["train"] + counts["test"], counts["train_slices"] + counts["test_slices"]
    methods = counts["trainings"] + len(counts["baselines"])
    steps = counts["train_slices"] * counts["per_slice"] * counts["epochs"] // counts["batch"]
    tested = counts["test_slices"]
    table = [
        ("data", "convert", counts["series"], counts["slices"]),
        ("data", "match", pairs, pair_slices),
        ("data", "patches", counts["train"], counts["train_slices"]),
        ("training", "train", counts["trainings"], counts["trainings"] * steps),
        *(("testing", f"denoise {name}", counts["test"], tested) for name in counts["baselines"]),
        ("testing", "denoise chen2017", counts["test"] * counts["trainings"], tested * counts["trainings"]),
        ("testing", "quality", counts["test"] * (1 + methods), tested * (1 + methods)),
        ("testing", "physics", counts["test"] * (1 + methods), tested * (1 + methods)),
    ]
    rows = []
    for phase, stage, jobs, units in table:
        each = measured[stage]["cpu_seconds"]
        rows.append({"phase": phase, "stage": stage, "jobs": jobs, "units": units, "cpu_seconds": each})
        rows[-1]["core_hours"] = units * each / 3600
    for name, slices in counts["baselines"].items():
        each = measured[f"denoise {name}"]["cpu_seconds"]
        rows.append({"phase": "training", "stage": f"tune {name}", "jobs": 1, "units": slices, "cpu_seconds": each})
        rows[-1]["core_hours"] = slices * each / 3600
    for phase in PHASES:
        jobs = sum(row["jobs"] for row in rows if row["phase"] == phase)
        start = measured["start"]["cpu_seconds"]
        rows.append({"phase": phase, "stage": "start of jobs", "jobs": jobs, "units": jobs, "cpu_seconds": start})
        rows[-1]["core_hours"] = jobs * start / 3600
    return sorted(rows, key=lambda row: PHASES.index(row["phase"]))


def storage_rows(counts: dict[str, Any], measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Multiply the bytes of a slice by their number."""
    methods = counts["trainings"] + len(counts["baselines"])
    pair_slices = counts["train_slices"] + counts["test_slices"]
    return [
        {"files": "DICOM series", "gb": counts["dicom_gb"]},
        {"files": "volumes", "gb": counts["slices"] * measured["convert"]["bytes"] / 1e9},
        {"files": "matched scans and targets", "gb": pair_slices * measured["match"]["bytes"] / 1e9},
        {"files": "patches", "gb": counts["train_slices"] * measured["patches"]["bytes"] / 1e9},
        {
            "files": "denoised volumes",
            "gb": counts["test_slices"] * methods * measured["denoise chen2017"]["bytes"] / 1e9,
        },
        {
            "files": "measures",
            "gb": counts["test_slices"]
            * (1 + methods)
            * (measured["quality"]["bytes"] + measured["physics"]["bytes"])
            / 1e9,
        },
    ]


def node_rows(
    counts: dict[str, Any], stages: list[dict[str, Any]], measured: dict[str, Any], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Divide each phase by the cores, as far as that helps."""
    core_hours = {phase: sum(row["core_hours"] for row in stages if row["phase"] == phase) for phase in PHASES}
    download = counts["dicom_gb"] * 8000 / options.mbit / 3600
    train = next(row for row in stages if row["stage"] == "train")
    least = {"data": download, "training": train["core_hours"] / train["jobs"], "testing": 0.0}
    rows = []
    for nodes in NODES:
        cores = nodes * options.cores
        row: dict[str, Any] = {phase: max(core_hours[phase] / cores, least[phase]) for phase in PHASES}
        row["hours"] = sum(row.values())
        rows.append({"nodes": nodes, **row, "cost": row["hours"] * cores * options.price_core_hour})
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the time of the phases by the number of nodes, one bar above the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    labels = [str(row["nodes"]) for row in rows]
    below = [0.0] * len(rows)
    for phase, colour in zip(PHASES, ("#9ecae1", "#3182bd", "#08306b"), strict=True):
        heights = [row[phase] for row in rows]
        axes.bar(labels, heights, bottom=below, color=colour, label=phase, width=0.6)
        below = [one + other for one, other in zip(below, heights, strict=True)]
    for label, top in zip(labels, below, strict=True):
        axes.annotate(f"{top:.0f} h", (label, top), ha="center", va="bottom")
    axes.set(xlabel="nodes", ylabel="hours", ylim=(0, 1.12 * max(below)))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
