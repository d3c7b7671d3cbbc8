"""What Snakemake would do: plans of an experiment that is finished as far as Snakemake can tell."""

import csv
import io
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from quietct.experiment.settings import load_yaml

HERE = Path(__file__).parent
# A process that has imported what every plan needs, and becomes a plan by a fork: half the time of a new Python.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["snakemake.cli", "snakemake.dag", "pandas", "jsonschema", "quietct.experiment.sheet", "warm_plans"]
)
# The further file of a job that has one before.
SECOND = "verdict.json"


@dataclass
class Plan:
    jobs: set[str]  # all of the experiment, as "rule wildcards"
    again: set[str]  # those that would run

    def matching(self, patterns):
        """Jobs of the experiment that match one of the patterns; a pattern that matches none is a mistake."""
        found = {pattern: {job for job in self.jobs if fnmatchcase(job, pattern)} for pattern in patterns}
        assert all(found.values()), f"no job is {[pattern for pattern, jobs in found.items() if not jobs]}"
        return set().union(*found.values())


def check(plan, patterns):
    """Demand that the jobs of some patterns run again, and no others."""
    expected = plan.matching(patterns)
    assert not plan.again - expected, f"runs again, but need not: {sorted(plan.again - expected)}"
    assert not expected - plan.again, f"stays stale: {sorted(expected - plan.again)}"


# Of rules that could begin, the first here does.
RULES = [
    "fetch_series", "convert_series", "calibrate_noise", "plot_calibration", "match_target", "make_detection_task",
    "locate_nodules", "add_noise", "extract_patches", "train_network", "tune_baseline", "denoise_series",
    "measure_quality", "measure_physics", "summarize_quality", "compare_methods", "plot_contact_sheet",
    "plot_slice_quality", "plot_differences", "plot_cost_curves", "plot_noise_power", "plot_task_transfer",
    "plot_nodules", "render_training_gif", "render_scroll_gif", "denoise_dicom", "export_weights",
]  # fmt: skip


def told_rows():
    """Give the table of config/README.md: changes, and the rules that it says begin."""
    text = (HERE.parents[1] / "config/README.md").read_text().partition("## What runs again")[2].partition("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {change.strip(): set(re.findall("`([a-z_]+)`", begins)) & set(RULES) for change, begins in cells}


def check_told(plan, row):
    """Demand that config/README.md tells with which rules a plan begins."""
    rules = {job.split()[0] for job in plan.again} - {"record_run", "build_report"}
    told = told_rows()[row]
    assert told <= rules, f"does not run: {sorted(told - rules)}"
    assert told or not rules, f"runs too: {sorted(rules)}"
    assert not rules or min(rules, key=RULES.index) in told, f"begins: {min(rules, key=RULES.index)}"


def call_snakemake(folder, words, output):
    """Be the command `snakemake` in a folder."""
    from snakemake.cli import main

    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    sys.argv = ["snakemake", *words]
    main(words)


def run_fast(folder, *words, repository=HERE.parents[1]):
    """Give what Snakemake says in a folder; it must end well."""
    words = ["-s", repository / "Snakefile", "--cores", 2, *words]
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "output"
        process = CONTEXT.Process(target=call_snakemake, args=(folder, [str(word) for word in words], output))
        process.start()
        process.join()
        text = output.read_text()
    assert process.exitcode == 0, text
    return text


def read_summary(folder, *words, repository=HERE.parents[1]):
    """Give a row of Snakemake's own summary for each file of the experiment."""
    _, heading, rows = run_fast(folder, *words, "--summary", repository=repository).partition("output_file\t")
    return list(csv.DictReader(io.StringIO(heading + rows), delimiter="\t"))


def make_plan(folder, *words, repository=HERE.parents[1]):
    """Plan the experiment in a folder."""
    jobs = {}
    for row in read_summary(folder, *words, repository=repository):
        if not row["output_file"].endswith(SECOND):
            jobs[job_name(row["rule"], row["output_file"])] = row["plan"] == "update pending"
    return Plan(set(jobs), {job for job, pending in jobs.items() if pending})


def job_name(rule, output):
    """Name a job by its rule and by what its first file is called: `denoise_series grey/median/test_1`."""
    place = output.split("/", 2)[2] if output.startswith(("results/", "resources/")) else output
    if rule == "train_network":
        return f"{rule} {place.removeprefix('models/').rpartition('/')[0]}"
    inside = place.partition("/")[2] or place
    return f"{rule} {inside.removesuffix(Path(inside).suffix)}"


def pretend_to_run(folder):
    """Put an experiment with every kind of stage into a folder, finished as far as Snakemake can tell.

    Its results are empty files. Snakemake itself writes down what they were made with.
    """
    for name in ("rich.yaml", "rich.tsv"):
        shutil.copy(HERE / name, folder)
    for name in ("scan_2/a.dcm", "scan_2/below/b.dcm", "mine/a.dcm", "nodules.tsv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    for row in read_summary(folder, "--configfile", "rich.yaml"):
        path = folder / row["output_file"]
        if row["rule"] in ("fetch_series", "denoise_dicom"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    run_fast(folder, "--configfile", "rich.yaml", "--touch", "--forceall")


def rich_config():
    """Give the config of that experiment."""
    return load_yaml(HERE / "rich.yaml")


# What follows from what, in patterns of jobs. Written by hand: this is what science asks for, not what the rules say.

# A change of the config is written down, and the page prints it.
RECORD = ["record_run config"]
PAGE = ["build_report report"]
# Made of all numbers of the run at once.
TABLES = ["summarize_quality summary", "compare_methods comparison", "plot_differences *", "export_weights *"]


def measured(noise="*", method="*", series="*"):
    """What is made of the images of a method."""
    return [
        f"measure_quality {noise}/{method}/{series}",
        f"measure_physics {noise}/{method}/{series}",
        f"plot_slice_quality {noise}/slice-quality",
        *TABLES,
        *PAGE,
    ]


def denoised(noise="*", method="*", series="*"):
    """What a method makes, and what is made of it."""
    return [f"denoise_series {noise}/{method}/{series}", *measured(noise, method, series)]


# Pictures of all that is measured in series of the synthetic chest and of phantoms.
PHYSICS_PICTURES = ["plot_noise_power *", "plot_task_transfer *", "plot_nodules *"]


def overviews(noise="*"):
    """Pictures that show the filters, and the networks of the first seed."""
    return [f"plot_{name} {noise}/*" for name in ("contact_sheet", "noise_power", "task_transfer", "nodules")]


def trained(noise="*", variant="*", seed="*", network="small"):
    """A training and what is made of it, but for what only the first seed has."""
    method = f"{network}-{variant}-seed{seed}"
    return [
        f"train_network {noise}/{network}/{variant}/seed{seed}",
        f"render_training_gif {noise}/training-{method}",
        f"plot_cost_curves {noise}/cost-{network}",
        *denoised(noise, method),
    ]


def shown(noise="*", variant="*", seed="1", network="small"):
    """What only the first seed has."""
    method = f"{network}-{variant}-seed{seed}"
    return [
        f"render_scroll_gif {noise}/scroll-{method}-*",
        f"denoise_dicom {noise}/{method}/*",
        f"export_weights {noise}-{method}",
        *overviews(noise),
    ]


TRAINED = [*trained(), *shown()]
FILTERS = [*denoised(method="gaussian"), *denoised(method="median"), *overviews()]
