"""Measure what each stage of an experiment costs for a slice: processor time and bytes.

    .venv/bin/python benchmarks/stage_costs.py --json stage_costs.json

Runs the stages of config/phantom_fda_all.yaml, one after the other by the functions of the rules, on scans of the
synthetic chest of 512 x 512 pixels: one at 25 mAs, and ten at 200 mAs as its target. Processor time is that of this
process and its children, so that what else runs on the machine counts little; a core that others share is slower all
the same. Training counts steps of one patch. A job's start is Snakemake's own time and Python's imports, measured with
a job that has next to nothing to do, in the plan of the whole collection. `projection.py` makes tables of the file.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quietct.ct.dicom.convert import convert_series
from quietct.ct.matching import match_target
from quietct.ct.nodule_truth import locate_nodules
from quietct.ct.patches import extract_patches
from quietct.ct.sources.phantom import fetch
from quietct.denoising import denoise_series
from quietct.evaluation.physics import measure_physics
from quietct.evaluation.quality import measure_quality
from quietct.evaluation.tuning import tune_baseline
from quietct.experiment.settings import load_yaml
from quietct.training_job import train_network
from table import describe_machine, print_facts, print_table, write_json

REPOSITORY = Path(__file__).resolve().parents[1]
COLUMNS = {
    "stage": ("stage", "{}"),
    "unit": ("for each", "{}"),
    "cpu_seconds": ("CPU seconds", "{:.4f}"),
    "bytes": ("bytes kept", "{:,.0f}"),
}
LOW = "low"


def main() -> None:
    """Measure, print and write."""
    options = read_options()
    facts = describe_machine() | {"slices": options.slices, "steps": options.steps}
    print_facts(facts)
    config = load_yaml(REPOSITORY / "config/phantom_fda_all.yaml")
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), config, options.slices, options.steps, options.repeats)
        if not options.quick:
            rows.append({"stage": "start", "unit": "job", "cpu_seconds": job_start(Path(folder)), "bytes": 0})
    print_table(COLUMNS, rows)
    if options.json:
        write_json(options.json, COLUMNS, rows, facts)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=12, help="of the series (%(default)s)")
    parser.add_argument("--repeats", type=int, default=10, help="whose mean is the target (%(default)s)")
    parser.add_argument("--steps", type=int, default=400, help="of the training (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write: a list with one object per stage")
    parser.add_argument("--quick", action="store_true", help="little of each: shows that all works, not speed")
    options = parser.parse_args()
    if options.quick:
        options.slices, options.steps, options.repeats = 2, 4, 1
    return options


def measured(folder: Path, config: dict[str, Any], slices: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    """Run every stage once and give its row."""
    names = [LOW, *(f"full{k}" for k in range(repeats))]
    for k, name in enumerate(names):
        (folder / name).mkdir()
        fetch(folder / name, exposure_mas=200 if k else 25, repeat=k + 1, n_slices=slices)
    volumes = {name: (folder / f"{name}.npy", folder / f"{name}.json") for name in names}
    scan, info, target = folder / "matched.npy", folder / "matched.json", folder / "target.npy"
    full, window = names[1:], config["window_hu"]
    rows: list[dict[str, Any]] = []

    def row(stage: str, seconds: float, count: float, unit: str, *files: Path) -> None:
        kept = sum(file.stat().st_size for file in files)
        rows.append({"stage": stage, "unit": unit, "cpu_seconds": seconds / count, "bytes": kept / count})

    row("fetch", 0, slices, "slice", *(folder / LOW).iterdir())
    rows[-1].pop("cpu_seconds")  # the network decides
    taken = sum(cpu(lambda n=name: convert_series(folder / n, *volumes[n])) for name in names)
    row("convert", taken / len(names), slices, "slice", *volumes[LOW])
    taken = cpu(lambda: match_target(*volumes[LOW], [volumes[n][0] for n in full], [volumes[n][1] for n in full],
                                     scan, info, target, series=LOW, names=full, window_hu=window))  # fmt: skip
    row("match", taken, slices, "slice", scan, info, target)
    patches, nodules = folder / "patches.npy", folder / "nodules.tsv"
    # As many patches as there are steps; finding the body takes most of the time, and is done once a slice.
    settings = {**config["patches"], "per_slice": -(-steps // slices)}
    row("patches", cpu(lambda: extract_patches(target, scan, patches, settings, LOW)), slices, "slice")
    rows[-1]["bytes"] = 4 * config["patches"]["size"] ** 2 * config["patches"]["per_slice"]
    model = folder / "weights.npz"
    training = {**config["train"], "epochs": 1}
    taken = cpu(lambda: train_network([patches], scan, target, None, weights=model, history=folder / "history.tsv",
                                      snapshots=folder / "snapshots.npz", checkpoint=folder / "checkpoint.npz",
                                      names={"noise": "n", "network": "chen2017", "variant": "sgd"}, seed=1,
                                      architecture=config["networks"]["chen2017"], variant={}, training=training,
                                      window_hu=window))  # fmt: skip
    row("train", taken, -(-steps // slices) * slices, "step")
    locate_nodules(nodules, None, None)
    methods = {"chen2017": model}
    for name, grid in config["baselines"].items():
        methods[name] = folder / f"{name}.json"
        middle = {key: [values[len(values) // 2]] for key, values in grid.items()}
        tune_baseline([target], [scan], methods[name], name, middle, 1, window)
    for name, file in methods.items():
        denoised = folder / f"denoised_{name}.npy"
        row(f"denoise {name}", cpu(lambda f=file, d=denoised: denoise_series(f, scan, d)), slices, "slice", denoised)
    names_of = {"noise": "n", "method": "chen2017", "series": LOW}
    metrics, physics = folder / "metrics.tsv", folder / "physics.json"
    denoised = folder / "denoised_chen2017.npy"
    taken = cpu(lambda: measure_quality(target, info, denoised, metrics, **names_of, window_hu=window, scan=scan,
                                        nodules=nodules))  # fmt: skip
    row("quality", taken, slices, "slice", metrics)
    taken = cpu(lambda: measure_physics(target, info, denoised, nodules, physics, **names_of, exact_target=False,
                                        no_task="none", scan=scan))  # fmt: skip
    row("physics", taken, slices, "slice", physics)
    return rows


def cpu(work: Callable[[], Any]) -> float:
    """Give the processor seconds that some work takes, here and in child processes."""
    before = os.times()
    work()
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def job_start(folder: Path) -> float:
    """Give the processor seconds of a job of the whole collection that does next to nothing, as a node runs it."""
    series = "test_25mAs_16x1.5_3mm_B_repeat1"
    target = f"results/phantom_fda_all/nodules/{series}.tsv"
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder,
               "--configfile", REPOSITORY / "config/phantom_fda_all.yaml", "--workflow-profile", "none", "--cores", "1",
               "--mode", "subprocess", "--nolock", "--target-jobs", f"locate_nodules:series={series}",
               "--allowed-rules", "locate_nodules"]  # fmt: skip
    taken = cpu(lambda: subprocess.run([str(word) for word in command], check=True, cwd=folder, capture_output=True))
    if not (folder / target).exists():
        sys.exit(f"No job made {target}.")
    return taken


if __name__ == "__main__":
    main()
