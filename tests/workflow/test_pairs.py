"""Runs with targets: simulated dose against the exact truth, real dose pairs, and Noise2Noise."""

import csv
import json

import numpy as np
import pytest
import yaml
from conftest import new_folder
from PIL import Image
from repeat_scans import NOISE_HU, TRUNK, write_scan

from quietct.experiment.settings import load_yaml

MEASURED = {"real": {"model": "measured"}}
HELD_OUT = [0, 3, 6, 9]  # by split: {every: 3}, counted from the height 0
SCANS = {"low_1": 25, "low_2": 25, "high_1": 200, "high_2": 200}


def write_experiment(folder, config, rows):
    """Write `<run>.yaml` and its sheet, the first row of which names the columns."""
    sheet = f"{config['run']}.tsv"
    (folder / sheet).write_text("\n".join("\t".join(row.split(" ")) for row in rows) + "\n")
    (folder / f"{config['run']}.yaml").write_text(yaml.safe_dump({**config, "series": sheet}))


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, repository, snakemake, tiny_config):
    """The folder of a finished run like the demo's: 200 mAs made 25, tested against the truth."""
    folder = new_folder(tmp_path_factory, "simulated")
    noise = {"dose_25": load_yaml(repository / "config/config.yaml")["noise"]["dose_25_mas"]}
    rows = [
        "series source role target nodule_layout exposure_mas n_slices",
        "train_1 phantom train  1 200 2",
        "test_1 phantom test truth_1 2 200 2",
        "truth_1 phantom reference  2 inf 2",
    ]
    write_experiment(folder, {**tiny_config, "run": "dose", "noise": noise}, rows)
    outcome = snakemake(folder, "--configfile", "dose.yaml")
    assert outcome.status == 0, outcome.text
    return folder


def test_simulated_dose_is_compared_with_the_exact_truth(simulated):
    results = simulated / "results/dose"
    truth, scan, noisy, target = (
        np.load(results / name).astype(float)
        for name in ("volumes/truth_1.npy", "matched/test_1.npy", "noisy/dose_25/test_1.npy", "targets/test_1.npy")
    )
    assert np.array_equal(target, truth)
    assert np.array_equal(scan, np.load(results / "volumes/test_1.npy"))
    # An eighth of the photons, eight times the variance.
    assert np.std((noisy - truth)[TRUNK]) / np.std((scan - truth)[TRUNK]) == pytest.approx(8**0.5, rel=0.1)
    windowed = [np.clip((volume + 1350.0) / 1500.0, 0, 1) for volume in (truth, noisy)]
    psnr = [10 * np.log10(1 / np.mean((a - b) ** 2)) for a, b in zip(*windowed, strict=True)]
    summary = {row["method"]: row for row in table(results / "summary.tsv")}
    assert float(summary["noisy"]["psnr_db"]) == pytest.approx(np.mean(psnr), abs=0.01)
    assert float(summary["gaussian"]["psnr_db"]) > float(summary["noisy"]["psnr_db"])
    # Without a target a series learns towards itself; nothing is matched.
    assert not (results / "matched/train_1.npy").exists()
    assert np.load(results / "patches/dose_25/train_1.npy").shape == (16, 2, 16, 16)


@pytest.mark.parametrize(
    ("old", "new"), [("exposure_mas: 25", "exposure_mas: 50"), ("photons_per_mas: 550", "photons_per_mas: 600")]
)
def test_another_dose_reruns_the_noise_and_what_follows(simulated, snakemake, old, new):
    config = (simulated / "dose.yaml").read_text()
    assert old in config
    (simulated / "changed.yaml").write_text(config.replace(old, new))
    outcome = snakemake(simulated, "-n", "--configfile", "changed.yaml")
    assert outcome.status == 0
    assert outcome.jobs["add_noise"] == 2
    assert {"extract_patches", "train_network", "tune_baseline", "measure_quality"} < set(outcome.jobs)
    assert not {"fetch_series", "convert_series", "match_target"} & set(outcome.jobs)


@pytest.fixture(scope="module")
def repeats(tmp_path_factory, truth):
    """A folder with two scans of eleven slices at each of two doses."""
    folder = new_folder(tmp_path_factory, "repeats")
    for seed, (name, exposure_mas) in enumerate(SCANS.items()):
        write_scan(folder / "scans" / name, truth, exposure_mas, seed)
    return folder


@pytest.fixture(scope="module")
def pairs(repeats, snakemake, tiny_config):
    """The folder of a finished run of dose pairs, of which every third slice is held out."""
    rows = [
        "series source location role target",
        "low_1 directory scans/low_1 train high_1|high_2",
        "low_2 directory scans/low_2 test high_1|high_2",
        "high_1 directory scans/high_1 reference",
        "high_2 directory scans/high_2 reference",
    ]
    write_experiment(repeats, {**tiny_config, "run": "pairs", "noise": MEASURED, "split": {"every": 3}}, rows)
    outcome = snakemake(repeats, "--configfile", "pairs.yaml")
    assert outcome.status == 0, outcome.text
    return repeats


def test_dose_pairs_are_learnt_and_measured_at_heights_apart(pairs, truth):
    results = pairs / "results/pairs"
    target, low = np.load(results / "targets/low_2.npy"), np.load(results / "volumes/low_2.npy")
    for volume, noise_hu in ((target, NOISE_HU[200] / 2**0.5), (low, NOISE_HU[25])):
        assert np.std((volume - truth)[TRUNK]) == pytest.approx(noise_hu, rel=0.05)
    assert not (results / "noisy").exists()  # the scans are noisy
    # Patches come from the other slices of the training series.
    patches = np.load(results / "patches/real/low_1.npy")
    assert patches.shape == (56, 2, 16, 16)
    matched = np.load(results / "matched/low_1.npy")
    for noisy, _ in patches[::8]:
        (found,) = [k for k, image in enumerate(matched) if contains(image, noisy)]
        assert found not in HELD_OUT
    metrics = table(results / "metrics/real/median/low_2.tsv")
    assert [float(row["z_mm"]) for row in metrics] == [3.0 * k for k in HELD_OUT]
    # The target's own noise sets the ceiling: 6 of 1500 HU.
    error = np.clip((target + 1350) / 1500, 0, 1) - np.clip((truth + 1350) / 1500, 0, 1)
    ceiling = -10 * np.log10(np.mean(error**2, axis=(1, 2)))[HELD_OUT]
    assert [float(row["ceiling_psnr_db"]) for row in metrics] == pytest.approx(ceiling, abs=0.3)
    assert np.load(results / "denoised/real/median/low_2.npy").shape == low.shape
    (scroll, *_) = (results / "gifs/real").glob("scroll-*-low_2.gif")
    with Image.open(scroll) as gif:
        assert gif.n_frames == len(HELD_OUT)


def contains(image, patch):
    """Whether a patch is somewhere in an image."""
    windows = np.lib.stride_tricks.sliding_window_view(image, patch.shape)
    rows, columns = np.nonzero(windows[..., 0, 0] == patch[0, 0])
    return any(np.array_equal(windows[row, column], patch) for row, column in zip(rows, columns, strict=True))


def test_another_split_reruns_what_chooses_slices(pairs, snakemake):
    changed = (pairs / "pairs.yaml").read_text()
    assert "every: 3" in changed
    (pairs / "changed.yaml").write_text(changed.replace("every: 3", "every: 2"))
    outcome = snakemake(pairs, "-n", "--configfile", "changed.yaml")
    assert outcome.status == 0
    choosing = {"extract_patches", "tune_baseline", "measure_quality", "train_network", "render_scroll_gif"}
    assert choosing < set(outcome.jobs)
    assert not {"fetch_series", "convert_series", "match_target"} & set(outcome.jobs)


def test_another_target_is_matched_anew(pairs, snakemake):
    sheet = (pairs / "pairs.tsv").read_text()
    (pairs / "one.tsv").write_text(sheet.replace("test\thigh_1|high_2", "test\thigh_1"))
    outcome = snakemake(pairs, "-n", "--configfile", "pairs.yaml", "--config", "series=one.tsv")
    assert outcome.jobs["match_target"] == 1
    assert not {"fetch_series", "convert_series", "extract_patches"} & set(outcome.jobs)


def test_repeats_learn_towards_each_other_and_calibrate_simulated_dose(repeats, snakemake, tiny_config):
    rows = [
        "series source location role target",
        "low_1 directory scans/low_1 both low_1|low_2",
        "low_2 directory scans/low_2 both low_1",
    ]
    config = {
        **tiny_config,
        "run": "n2n",
        "variants": {"sgd": {}},
        "baselines": {"median": {"size_px": [3]}},
        "noise": {
            "repeats": {"model": "measured"},
            "half": {"model": "low_dose", "dose": 0.5, "calibration": "low", "seed": 1},
        },
        "split": {"every": 3},
        "calibration": {"low": {"series": ["low_1", "low_2"], "views": 180}},
    }
    write_experiment(repeats, config, rows)
    wanted = ("results/n2n/summary.tsv", "results/n2n/figures/calibration-low.png")
    outcome = snakemake(repeats, *wanted, "--configfile", "n2n.yaml")
    assert outcome.status == 0, outcome.text
    results = repeats / "results/n2n"
    for name, other in (("low_1", "low_2"), ("low_2", "low_1")):
        assert json.loads((results / f"matched/{name}.json").read_text())["target"]["series"] == [other]
        assert np.array_equal(np.load(results / f"targets/{name}.npy"), np.load(results / f"volumes/{other}.npy"))
        assert np.load(results / f"patches/repeats/{name}.npy").shape == (56, 2, 16, 16)
        assert [float(row["z_mm"]) for row in table(results / f"metrics/repeats/noisy/{name}.tsv")] == [
            3.0 * k for k in HELD_OUT
        ]
    assert (results / "figures/calibration-low.png").exists()
    # The scan's variance doubles, so what is added is as large as what was there.
    scan, noisy = np.load(results / "volumes/low_1.npy"), np.load(results / "noisy/half/low_1.npy")
    added = (noisy - scan.astype(float))[TRUNK]
    assert np.std(added) == pytest.approx(NOISE_HU[25], rel=0.2)
    jobs = snakemake(repeats, "-n", "--configfile", changed_calibration(repeats)).jobs
    assert (jobs["calibrate_noise"], jobs["add_noise"]) == (1, 2)
    assert not {"convert_series", "match_target"} & set(jobs)


def changed_calibration(folder):
    """A config file whose calibration has more electronic noise."""
    config = yaml.safe_load((folder / "n2n.yaml").read_text())
    config["calibration"]["low"]["electronic_noise"] = 10
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    return "changed.yaml"


PLAIN = ["a phantom train  1", "t phantom test  2"]


@pytest.mark.parametrize(
    ("rows", "settings", "sentence"),
    [
        (
            ["a phantom train r 1", "t phantom test r 2", "r phantom reference  3"],
            {},
            "mine.tsv: series a (train) and t (test) share the scan r; use different series, or keep ",
        ),
        (
            ["a phantom both b 1", "b phantom both a 2"],
            {},
            "mine.tsv: series a has the role both, which needs the key split in mine.yaml, ",
        ),
        (
            ["a phantom train x 1", "t phantom test  2"],
            {},
            "mine.tsv, line 2: the target 'x' of series a is not in the sheet, which has t.",
        ),
        (
            PLAIN,
            {"noise": MEASURED},
            "mine.tsv: series a needs a target, because the model of noise real in mine.yaml is measured; ",
        ),
        (
            PLAIN,
            {"calibration": {"c": {"series": ["a", "x"]}}},
            "mine.yaml: calibration.c.series has 'x', but the sheet has only a, t.",
        ),
        (PLAIN, {"split": {"every": 7, "margin": 3}}, "mine.yaml: split.every is 7, but width and two margins take 7 "),
    ],
)
def test_a_mistake_with_targets_ends_with_one_sentence(folder, snakemake, tiny_config, rows, settings, sentence):
    header = "series source role target nodule_layout"
    write_experiment(folder, {**tiny_config, **settings, "run": "mine"}, [header, *rows])
    outcome = snakemake(folder, "--configfile", "mine.yaml")
    assert outcome.status != 0
    assert "Traceback" not in outcome.text
    assert len(outcome.errors) == 1, outcome.text
    assert outcome.errors[0].startswith(sentence)
    assert not (folder / "results").exists()
