"""What the config of the whole collection plans, counted from its table. Of ten repeats each, two are planned here."""

import csv
import shutil
from collections import Counter

import pytest

from quietct.experiment.settings import load_yaml

REPEATS = 2
HELD_OUT = "NoduleLayout_6"


@pytest.fixture(scope="module")
def planned(repository, tmp_path_factory, snakemake):
    """The `Outcome` of a dry run of two repeats by every protocol."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copy(repository / "config/phantom_fda_all.yaml", folder / "whole.yaml")
    header, *lines = (repository / "config/phantom_fda_all.tsv").read_text().splitlines()
    # None of the incomplete scans at 200 mAs is among the first repeats, but one.
    lines = [f"{line}, repeat=1..{REPEATS}" for line in lines if not line.startswith("part")]
    (folder / "two.tsv").write_text("\n".join([header, *lines]) + "\n")
    outcome = snakemake(folder, "-n", "--configfile", "whole.yaml", "--config", "series=two.tsv")
    assert outcome.status == 0, outcome.text[-3000:]
    return outcome


@pytest.fixture(scope="module")
def scans(repository):
    """Rows of the table that are planned: the first repeats of each scan, but not the incomplete ones at 200 mAs."""
    with open(repository / "resources/phantom_fda_series.tsv", newline="") as file:
        table = sorted(csv.DictReader(file, delimiter="\t"), key=lambda row: int(row["series_number"]))
    taken, found = Counter(), []
    for row in table:
        scan = tuple(row[column] for column in row if column not in ("SeriesInstanceUID", *NOT_PROTOCOL))
        taken[scan] += 1
        if taken[scan] <= REPEATS:
            found.append(row)
    lost = {"110", "123", "186", "606"}
    return [row for row in found if not (row["exposure_mas"] == "200" and row["n_slices"] in lost)]


NOT_PROTOCOL = ("series_number", "n_slices", "size_mb", "crdc_series_uuid", "aws_bucket")


def test_jobs_by_rule_are_those_that_the_table_asks_for(repository, planned, scans):
    config = load_yaml(repository / "config/phantom_fda_all.yaml")
    low = [row for row in scans if row["exposure_mas"] != "200"]
    tested = sum(row["nodule_layout"] == HELD_OUT for row in low)
    trainings = len(config["variants"]) * len(config["train"]["seeds"])
    denoisers = trainings + len(config["baselines"])
    jobs = planned.jobs
    assert jobs["fetch_series"] == jobs["convert_series"] == len(scans) > 800
    assert jobs["match_target"] == len(low)
    assert jobs["extract_patches"] == len(low) - tested
    assert jobs["train_network"] == trainings == 12
    assert jobs["tune_baseline"] == len(config["baselines"])
    assert jobs["denoise_series"] == tested * denoisers
    assert jobs["measure_quality"] == jobs["measure_physics"] == tested * (1 + denoisers)
    assert jobs["locate_nodules"] == tested
    assert jobs["render_scroll_gif"] == 4 * config["preview"]["most_series"]
    assert jobs["build_report"] == jobs["summarize_quality"] == 1


def test_every_series_is_fetched_once(planned, scans):
    fetched = Counter(line.split()[-1] for line in planned.text.splitlines() if "Fetching the DICOM series" in line)
    assert fetched == Counter(row["SeriesInstanceUID"] for row in scans)


def test_no_patch_is_cut_from_the_held_out_layout(planned):
    cut = [line for line in planned.text.splitlines() if "Cutting patches from" in line]
    assert len(cut) == planned.jobs["extract_patches"]
    assert not any("test_" in line for line in cut)
    assert {line.split("Cutting patches from ")[1].split("_")[0] for line in cut} == {"train"}


def test_the_plan_says_little_beside_the_jobs(planned):
    warnings = [line for line in planned.text.splitlines() if "warning" in line.lower()]
    assert len(warnings) < 5
