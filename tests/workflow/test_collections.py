"""What is planned for series of public collections. Dry runs alone: no network is asked."""

import csv
import os
import re

import pytest

from quietct.experiment.settings import load_yaml

ARTICLE = "1.2.840.113704.1.111.4116."
FIRST, SECOND, THIRD = ARTICLE + "1186756880.24", ARTICLE + "1186757037.38", ARTICLE + "1186757214.54"
HEADER = "series\tsource\trole\tseries_instance_uid\tselect\tn_slices\n"


def plan(snakemake, folder, sheet, *words, config="tiny.yaml"):
    outcome = snakemake(folder, "-n", "--configfile", config, "--config", f"series={sheet}", *words)
    assert outcome.status == 0, outcome.text
    return outcome


def write_sheet(folder, name, *rows):
    (folder / name).write_text(HEADER + "".join(row + "\n" for row in rows))
    return name


def fill(folder, uid):
    series = folder / "resources/dicom" / uid
    series.mkdir(parents=True)
    (series / "any name").write_text("a slice")
    return series


@pytest.mark.parametrize("name", ["config", "article", "chen2017"])
def test_the_sheet_of_the_article_fits_every_config(repository, folder, snakemake, name):
    sheet = "config/phantom_fda_article.tsv"
    outcome = plan(snakemake, folder, sheet, config=repository / f"config/{name}.yaml")
    config = load_yaml(repository / f"config/{name}.yaml")
    assert outcome.jobs["fetch_series"] == outcome.jobs["convert_series"] == 3
    assert outcome.jobs["extract_patches"] == len(config["noise"])
    for uid in (FIRST, SECOND, THIRD):
        assert f"resources/dicom/{uid}" in outcome.text


def test_sheets_of_the_synthetic_chest_fit_other_configs(repository, folder, snakemake):
    outcome = plan(snakemake, folder, "config/demo.tsv", config=repository / "config/article.yaml")
    with open(repository / "config/demo.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert outcome.jobs["fetch_series"] == len(rows)
    assert outcome.jobs["match_target"] == sum(bool(row["target"]) for row in rows)
    assert outcome.jobs["extract_patches"] == sum(row["role"] == "train" for row in rows)


def test_a_selection_is_planned_as_a_series_each(folder, snakemake):
    scan = "nodule_layout=NoduleLayout_3, pitch=1.2, slice_thickness_mm=3, slice_increment_mm=3, recon_kernel=B40f"
    sheet = write_sheet(
        folder,
        "mine.tsv",
        f"low\tidc\ttrain\t\t{scan}, exposure_mas=25, repeat=1..3",
        f"high\ttcia\ttest\t\t{scan}, exposure_mas=200, repeat=1",
    )
    outcome = plan(snakemake, folder, sheet)
    assert outcome.jobs["fetch_series"] == 4
    for name in ("low_repeat1", "low_repeat2", "low_repeat3"):
        assert f"results/tiny/patches/gaussian_10/{name}.npy" in outcome.text
    assert "results/tiny/metrics/gaussian_10/median/high.tsv" in outcome.text


def test_what_lies_in_the_folder_of_a_series_is_used_and_never_fetched_again(folder, snakemake):
    sheet = write_sheet(folder, "mine.tsv", f"a\tidc\ttrain\t{FIRST}", f"b\ttcia\ttest\t{SECOND}")
    series = fill(folder, FIRST)
    os.utime(series / "any name", (1e9, 1e9))  # years older than the script that would fetch it
    os.utime(series, (1e9, 1e9))
    outcome = plan(snakemake, folder, sheet)
    assert outcome.jobs["fetch_series"] == 1
    assert outcome.jobs["convert_series"] == 2
    assert f"Fetching the DICOM series {SECOND}" in outcome.text
    assert f"Fetching the DICOM series {FIRST}" not in outcome.text
    fill(folder, SECOND)
    assert "fetch_series" not in plan(snakemake, folder, sheet, "--forceall").jobs
    assert "resources/dicom" not in plan(snakemake, folder, sheet, "--delete-all-output").text
    assert plan(snakemake, folder, sheet, "--until", "fetch_series").jobs == {}


def test_sheets_that_name_a_series_differently_share_its_folder(folder, snakemake):
    one = write_sheet(folder, "one.tsv", f"a\tidc\ttrain\t{FIRST}", f"b\tidc\ttest\t{SECOND}")
    selection = "nodule_layout=NoduleLayout_1, pitch=1.2, slice_thickness_mm=5, exposure_mas=100, repeat=1..10"
    other = write_sheet(
        folder, "other.tsv", f"scan\ttcia\ttest\t\t{selection}\t10", "c\tphantom\ttrain\t\t\t2"
    )  # fmt: skip
    fetched = {
        sheet: set(re.findall(r"Fetching the DICOM series (\S+)", plan(snakemake, folder, sheet).text))
        for sheet in (one, other)
    }
    assert fetched[one] == {FIRST, SECOND}
    assert fetched[other] > {FIRST, SECOND}
    assert len(fetched[other]) == 11  # ten repeats and the synthetic chest
    fill(folder, FIRST)
    assert plan(snakemake, folder, one).jobs["fetch_series"] == 1
    assert plan(snakemake, folder, other).jobs["fetch_series"] == 10
