"""The config of real dose pairs on scans of the synthetic chest: all of it but the download."""

import csv
import json
import shutil

import numpy as np
import pytest
import yaml
from conftest import new_folder
from repeat_scans import NOISE_HU, TRUNK, write_scan

from quietct.experiment.settings import load_yaml
from quietct.experiment.sheet import read_sheet

# Of the eleven heights, one scan starts a slice higher, one ends early, and one lies aside.
USUAL, ODD = slice(0, 10), {"high_repeat2": slice(1, 11), "low_train_repeat2": slice(0, 9)}
SHIFT_PX = {"high_repeat3": (0.3, -0.7)}


@pytest.fixture(scope="module")
def collected(tmp_path_factory, repository, truth):
    """A folder where scans of the synthetic chest lie in the folders of all twenty series."""
    folder = new_folder(tmp_path_factory, "collected")
    schema = load_yaml(repository / "workflow/schemas/series.schema.yaml")
    table = repository / "resources/phantom_fda_series.tsv"
    for seed, row in enumerate(read_sheet(repository / "config/phantom_fda.tsv", schema, table)):
        name, uid = row["series"], row["series_instance_uid"]
        exposure_mas = 200 if row["role"] == "reference" else 25
        place = folder / "resources/dicom" / uid
        write_scan(place, truth, exposure_mas, seed, ODD.get(name, USUAL), SHIFT_PX.get(name, (0, 0)), uid)
    return folder


def test_scans_that_lie_there_are_paired_without_a_download(collected, repository, snakemake):
    outcome = snakemake(collected, "-n", "--configfile", repository / "config/phantom_fda.yaml")
    assert outcome.status == 0, outcome.text
    assert "fetch_series" not in outcome.jobs
    assert outcome.jobs["convert_series"] == 20
    assert outcome.jobs["match_target"] == 10
    assert outcome.jobs["extract_patches"] == 8


def test_dose_pairs_run_whole_with_fewer_repeats_and_a_short_training(collected, repository, snakemake, truth):
    sheet = (repository / "config/phantom_fda.tsv").read_text()
    for old, new in (("repeat=1..8", "repeat=1..2"), ("repeat=9..10", "repeat=9"), ("repeat=1..10", "repeat=1..3")):
        assert old in sheet
        sheet = sheet.replace(old, new)
    (collected / "few.tsv").write_text(sheet)
    config = load_yaml(repository / "config/phantom_fda.yaml")
    config["series"], config["variants"], config["train"]["epochs"] = "few.tsv", {"sgd": {}}, 1
    config["tuning_slices"] = 1
    config["baselines"] = {
        name: {key: values[:1] for key, values in grid.items()} for name, grid in config["baselines"].items()
    }
    (collected / "few.yaml").write_text(yaml.safe_dump(config))
    outcome = snakemake(collected, "--configfile", "few.yaml")
    assert outcome.status == 0, outcome.text
    assert "fetch_series" not in outcome.jobs
    results = collected / "results/phantom_fda"
    check_pairs(results, truth)
    check_split(results)
    for picture in ("contact-sheet.png", "cost-chen2017.png"):
        assert (results / "figures/dose_25_mas" / picture).exists()
    shutil.rmtree(results)  # large


def check_pairs(results, truth):
    """Slices are those that all scans have; the mean of the repeats lies on the scan and has less noise."""
    heights = {name: [3.0 * k for k in range(1, n)] for name, n in (("low_test", 10), ("low_train_repeat2", 9))}
    for name, z_mm in heights.items():
        info = json.loads((results / f"matched/{name}.json").read_text())
        assert info["z_mm"] == pytest.approx(z_mm)
        assert info["target"]["unmatched_z_mm"] == [0.0]
        assert info["target"]["series"] == ["high_repeat1", "high_repeat2", "high_repeat3"]
        assert info["target"]["exposure_mas"] == [200, 200, 200]
        for found, shift in zip(info["target"]["shift_px"], ([0, 0], [0, 0], [-0.3, 0.7]), strict=True):
            assert np.array(found) == pytest.approx(np.broadcast_to(shift, (len(z_mm), 2)), abs=0.05)
    error = np.load(results / "targets/low_test.npy") - truth[1:10]
    assert np.std(error[TRUNK]) == pytest.approx(NOISE_HU[200] / 3**0.5, rel=0.05)


def check_split(results):
    """Of 24 slices the first four are held out and two on either side belong to nobody."""
    with open(results / "metrics/dose_25_mas/noisy/low_test.tsv", newline="") as file:
        metrics = list(csv.DictReader(file, delimiter="\t"))
    assert [float(row["z_mm"]) for row in metrics] == [3.0, 6.0, 9.0]
    assert all(30 < float(row["psnr_db"]) < float(row["ceiling_psnr_db"]) for row in metrics)
    per_slice = 8
    assert len(np.load(results / "patches/dose_25_mas/low_train_repeat1.npy")) <= 4 * per_slice  # 18, 21, 24, 27 mm
    assert len(np.load(results / "patches/dose_25_mas/low_train_repeat2.npy")) <= 3 * per_slice
    with open(results / "summary.tsv", newline="") as file:
        methods = {row["method"] for row in csv.DictReader(file, delimiter="\t")}
    assert methods == {
        "noisy", "gaussian", "median", "bilateral", "nl_means", "tv", "wavelet", "chen2017-sgd-seed1",
    }  # fmt: skip
