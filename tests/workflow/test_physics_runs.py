"""The physicist's measures and the detection task in the workflow."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from quietct.ct.phantom import PIXEL_MM, nodules

TASK = "results/tiny/volumes/test_1_detection"
HEADER = "row\tcolumn\tz_mm\tdiameter_mm\thu\n"


DETECTION = {"diameter_mm": 3, "density_hu": -400, "sites": 25, "slices": 2}
METHODS = ["noisy", "gaussian"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory, snakemake, tiny_config):
    """The folder of the tiny experiment with a detection task, as far as two methods without a network need it."""
    folder = tmp_path_factory.mktemp("measured")
    shutil.copy(Path(__file__).parent / "tiny.tsv", folder)
    (folder / "mine.yaml").write_text(yaml.safe_dump(tiny_config | {"detection": DETECTION}))
    targets = [f"results/tiny/physics/gaussian_10/{method}/test_1.json" for method in METHODS]
    outcome = snakemake(folder, *targets, "--configfile", "mine.yaml")
    assert outcome.status == 0, outcome.text
    return folder


def test_methods_are_measured_and_look_for_the_same_nodules(measured):
    found = {}
    for method in METHODS:
        found[method] = json.loads((measured / f"results/tiny/physics/gaussian_10/{method}/test_1.json").read_text())
        assert [found[method][key] for key in ("noise", "method", "series")] == ["gaussian_10", method, "test_1"]
        assert found[method]["detectability"]["n_present"] == 50
        low, high = found[method]["detectability"]["interval"]
        assert low < found[method]["detectability"]["d_prime"] < high
    # The target is a scan with 200 mAs, so that the noise is the image's own: 150 HU added, and the scan's.
    assert found["noisy"]["noise_power"]["sd_hu"] == pytest.approx(150, rel=0.05)
    assert found["gaussian"]["noise_power"]["sd_hu"] < 0.6 * found["noisy"]["noise_power"]["sd_hu"]


def test_the_detection_task_gets_noise_like_any_series(measured):
    clean = np.load(measured / f"{TASK}.npy").astype(float)
    noisy = np.load(measured / "results/tiny/noisy/gaussian_10/test_1_detection.npy")
    assert clean.shape == (4, 512, 512)
    assert np.std(noisy - clean) == pytest.approx(150, rel=0.02)


def test_the_nodules_of_a_chest_are_written_down_on_its_pixels(measured):
    with open(measured / "results/tiny/nodules/test_1.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    truth = nodules(2)
    assert [float(row["diameter_mm"]) for row in rows] == [nodule.diameter_mm for nodule in truth]
    assert float(rows[0]["column"]) == pytest.approx(255.5 + truth[0].centre_mm[0] / PIXEL_MM, abs=0.001)


def planned(folder, snakemake, config, **keys):
    (folder / "mine.yaml").write_text(yaml.safe_dump(config | keys))
    return snakemake(folder, "-n", "--configfile", "mine.yaml")


def test_without_the_key_there_is_no_task(folder, snakemake, tiny_config):
    outcome = planned(folder, snakemake, tiny_config)
    assert outcome.status == 0, outcome.text
    assert "make_detection_task" not in outcome.jobs
    assert outcome.jobs["measure_physics"] == 5


def test_measured_noise_has_no_task(folder, snakemake, tiny_config):
    rows = ["a\tphantom\ttrain\t1\t50\ta_ref", "b\tphantom\ttest\t2\t50\tb_ref"]
    rows += ["a_ref\tphantom\treference\t1\tinf\t", "b_ref\tphantom\treference\t2\tinf\t"]
    header = "series\tsource\trole\tnodule_layout\texposure_mas\ttarget"
    (folder / "pairs.tsv").write_text("\n".join([header, *rows]) + "\n")
    outcome = planned(
        folder, snakemake, tiny_config, noise={"real": {"model": "measured"}}, series="pairs.tsv", detection=DETECTION
    )
    assert outcome.status == 0, outcome.text
    assert "make_detection_task" not in outcome.jobs
    assert outcome.jobs["measure_physics"] == 5


def test_a_series_with_the_name_of_a_task_is_refused(folder, snakemake, tiny_config):
    rows = ["a\tphantom\ttrain\t1", "b\tphantom\ttest\t2", "b_detection\tphantom\ttest\t3"]
    (folder / "clash.tsv").write_text("\n".join(["series\tsource\trole\tnodule_layout", *rows]) + "\n")
    outcome = planned(folder, snakemake, tiny_config, series="clash.tsv", detection=DETECTION)
    assert outcome.status != 0
    assert outcome.errors == [
        "clash.tsv: series b_detection has the name of the detection task of series b; give it another one."
    ]


def test_a_phantom_of_ones_own_brings_its_truth_in_a_table(folder, snakemake, tiny_config):
    (folder / "scan").mkdir()
    rows = ["a\tphantom\t\ttrain\t1\t", "b\tdirectory\tscan\ttest\t\ttruth.tsv"]
    header = "series\tsource\tlocation\trole\tnodule_layout\tnodules"
    (folder / "own.tsv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "own.yaml").write_text(yaml.safe_dump(tiny_config | {"series": "own.tsv", "detection": DETECTION}))
    target = "results/tiny/nodules/b.tsv"
    outcome = snakemake(folder, target, "--configfile", "own.yaml")
    assert outcome.errors == ["own.tsv: the table of nodules truth.tsv of series b does not exist."]
    (folder / "truth.tsv").write_text(HEADER + "10\t20\t-3\t8\t100\n")
    assert snakemake(folder, target, "--configfile", "own.yaml").status == 0
    assert (folder / target).read_text() == HEADER + "10\t20\t-3\t8\t100\n"
    assert "make_detection_task" not in snakemake(folder, "-n", "--configfile", "own.yaml").jobs
