"""Real runs of the tiny experiment."""

import csv
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from quietct.experiment.settings import load_yaml

MODEL = "results/tiny/models/gaussian_10/small"


def edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_stage_leaves_its_file(finished, tiny_config):
    results = finished / "results/tiny"
    clean = np.load(results / "volumes/test_1.npy")
    assert clean.dtype == np.int16
    assert clean.shape == (2, 512, 512)
    noisy = np.load(results / "noisy/gaussian_10/test_1.npy")
    # The grey scale is 1500 HU wide and its maximum is taken by bone or table, so sigma is 150 HU.
    assert np.std(noisy.astype(float) - clean) == pytest.approx(150, rel=0.02)
    assert np.load(results / "patches/gaussian_10/train_1.npy").shape == (16, 2, 16, 16)
    methods = ["gaussian", "median", "small-sgd-seed1", "small-dilated_gradient_noise-seed1"]
    for method in methods:
        assert np.load(results / f"denoised/gaussian_10/{method}/test_1.npy").shape == clean.shape
    with open(results / "summary.tsv", newline="") as file:
        summary = {row["method"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert set(summary) == {"noisy", *methods}
    windowed = [np.clip((volume + 1350.0) / 1500.0, 0, 1) for volume in (clean, noisy)]
    psnr = [10 * np.log10(1 / np.mean((a - b) ** 2)) for a, b in zip(*windowed, strict=True)]
    assert float(summary["noisy"]["psnr_db"]) == pytest.approx(np.mean(psnr), abs=0.01)
    assert float(summary["gaussian"]["psnr_db"]) > float(summary["noisy"]["psnr_db"]) + 3
    # White noise is the same in every tissue, and the config's window is that of the lung.
    for name in ("rmse_lung_hu", "rmse_soft_tissue_hu", "rmse_bone_hu", "noise_index_hu"):
        assert float(summary["noisy"][name]) == pytest.approx(150, rel=0.05)
    for row in summary.values():
        assert row["psnr_lung_db"] == row["psnr_db"]
        assert 0 < float(row["vif"]) < 1
        assert row["n_failed"] == "0"
        assert "ceiling_psnr_db" in row["notes"]
    record = yaml.safe_load((results / "config.yaml").read_text())
    assert record["config"] == tiny_config


def test_pictures_can_be_opened_and_training_gifs_move(finished):
    results = finished / "results/tiny"
    names = [path.name for path in sorted((results / "gifs/gaussian_10").iterdir())]
    assert names == [
        "scroll-small-dilated_gradient_noise-seed1-test_1.gif",
        "scroll-small-sgd-seed1-test_1.gif",
        "training-small-dilated_gradient_noise-seed1.gif",
        "training-small-sgd-seed1.gif",
    ]
    for name in names:
        with Image.open(results / "gifs/gaussian_10" / name) as gif:
            assert gif.n_frames >= 2
    for name in ("cost-small", "contact-sheet", "differences", "slice-quality"):
        with Image.open(results / f"figures/gaussian_10/{name}.png") as plot:
            plot.load()
            assert len(plot.convert("L").getcolors(100_000)) > 20


def test_a_second_run_has_nothing_to_do(finished, snakemake):
    outcome = snakemake(finished, "--configfile", "tiny.yaml")
    assert outcome.status == 0
    assert "Nothing to be done" in outcome.text


def test_the_report_holds_the_pictures(finished, snakemake):
    outcome = snakemake(finished, "--configfile", "tiny.yaml", "--report", "report.zip")
    assert outcome.status == 0, outcome.text
    with zipfile.ZipFile(finished / "report.zip") as report:
        names = [name.rpartition("/")[2] for name in report.namelist()]
    assert names.count("report.html") == 2  # Snakemake's own page, and the run's
    for name in ("contact-sheet.png", "cost-small.png", "summary.tsv", "training-small-sgd-seed1.gif"):
        assert name in names


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(fetched, snakemake, command):
    # Long enough to be caught in the act.
    edited(fetched / "tiny.yaml", "epochs: 2", "epochs: 60")
    weights = f"{MODEL}/sgd/seed1/weights.npz"
    words = [weights, "--configfile", "tiny.yaml"]
    process = subprocess.Popen(
        command(fetched, *words),
        cwd=fetched,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: list((fetched / "results/tiny").glob("checkpoints/*/*.npz")), process)
        time.sleep(0.2)
        jobs = [job for job in psutil.Process(process.pid).children(recursive=True) if runs_training(job)]
        assert jobs, "the training was over before it could be killed"
        for job in jobs:
            job.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) != 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert not (fetched / weights).exists()
    outcome = snakemake(fetched, *words)
    assert outcome.status == 0, outcome.text
    log = (fetched / "logs/tiny/train_network/gaussian_10/small-sgd-seed1.log").read_text()
    assert "Going on from the checkpoint" in log
    assert not list((fetched / "results/tiny/checkpoints").glob("*/*.npz"))
    resumed = (fetched / weights).read_bytes()
    history = (fetched / weights).with_name("history.tsv").read_text()
    again = snakemake(fetched, *words, "--forcerun", "train_network")
    assert again.status == 0, again.text
    log = (fetched / "logs/tiny/train_network/gaussian_10/small-sgd-seed1.log").read_text()
    assert "Going on from the checkpoint" not in log
    assert (fetched / weights).read_bytes() == resumed
    assert (fetched / weights).with_name("history.tsv").read_text() == history


def runs_training(job):
    try:
        words = job.cmdline()
    except psutil.Error:
        return False
    return any(word.endswith("train_network.py") for word in words) and "-m" not in words


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        assert process.poll() is None, "Snakemake ended early"
        time.sleep(0.02)


def test_the_package_beside_the_scripts_is_used_and_not_one_that_is_installed(folder, snakemake, monkeypatch):
    (folder / "installed/quietct").mkdir(parents=True)
    (folder / "installed/quietct/__init__.py").write_text("raise ImportError('another version')")
    monkeypatch.setenv("PYTHONPATH", str(folder / "installed"))
    outcome = snakemake(folder, "results/tiny/config.yaml", "--configfile", "tiny.yaml")
    assert outcome.status == 0, outcome.text


def test_a_folder_without_ct_images_ends_with_one_sentence_and_no_output(folder, snakemake):
    (folder / "letters").mkdir()
    (folder / "letters/letter.txt").write_text("no image")
    (folder / "tiny.tsv").write_text(
        "series\tsource\tlocation\trole\nscan\tdirectory\tletters\ttrain\ntest_1\tphantom\t\ttest\n"
    )
    outcome = snakemake(folder, "results/tiny/volumes/scan.npy", "--configfile", "tiny.yaml")
    check_failed(outcome, "letters contains no CT images")
    assert not (folder / "resources/dicom/scan").exists()
    assert not (folder / "results/tiny/volumes/scan.npy").exists()


def test_a_patch_larger_than_the_slice_ends_with_one_sentence_and_no_output(fetched, snakemake):
    edited(fetched / "tiny.yaml", "size: 16", "size: 600")
    target = "results/tiny/patches/gaussian_10/train_1.npy"
    outcome = snakemake(fetched, target, "--configfile", "tiny.yaml")
    check_failed(outcome, "size` is 600, but the slices have 512 x 512 pixels.")
    assert not (fetched / target).exists()
    assert (fetched / "results/tiny/noisy/gaussian_10/train_1.npy").exists()


def test_an_empty_patch_set_ends_with_one_sentence_and_no_output(fetched, snakemake):
    edited(fetched / "tiny.yaml", "body_threshold_hu: -500", "body_threshold_hu: 30000")
    target = "results/tiny/patches/gaussian_10/train_1.npy"
    outcome = snakemake(fetched, target, "--configfile", "tiny.yaml")
    check_failed(outcome, "Series train_1 gives no patches")
    assert not (fetched / target).exists()


def check_failed(outcome, words):
    assert outcome.status != 0
    assert "Traceback" not in outcome.text
    sentences = [sentence for sentence in outcome.errors if words in sentence]
    assert len(sentences) == 1, outcome.text


def test_real_slices_become_patches_on_the_grey_scale_of_their_window(folder, snakemake, repository):
    shared = repository.parent / "shared"
    if not (shared / "data").is_dir():
        pytest.skip("the slices in ../shared/data are not here")
    for repeat in ("repeat_1", "repeat_2"):
        (folder / "jpeg" / repeat).mkdir(parents=True)
        for slice_path in sorted((shared / "data/phantom_fda_jpeg" / repeat).glob("*.jpg"))[40:44]:
            shutil.copy(slice_path, folder / "jpeg" / repeat)
        wrap = [sys.executable, shared / "tools/wrap_jpeg_as_dicom.py", folder / "jpeg" / repeat]
        subprocess.run([*wrap, folder / "resources/real_slices" / repeat, "--repeat", repeat[-1]], check=True)
    targets = [
        "results/real_slices/patches/gaussian_30/repeat_1.npy",
        "results/real_slices/noisy/gaussian_30/repeat_2.npy",
    ]
    outcome = snakemake(folder, *targets, "--configfile", repository / "config/real_slices.yaml")
    assert outcome.status == 0, outcome.text
    with Image.open(sorted((folder / "jpeg/repeat_2").glob("*.jpg"))[0]) as jpeg:
        grey = np.asarray(jpeg.convert("L"), dtype=float)
    clean = np.load(folder / "results/real_slices/volumes/repeat_2.npy")
    assert clean.shape == (4, *grey.shape)
    nearest = min(np.abs(clean[k] - (-160 + grey / 255 * 400)).max() for k in (0, 3))  # slices may run either way
    assert nearest <= 0.5
    noise = np.load(folder / targets[1]).astype(float) - clean
    assert np.std(noise[0]) == pytest.approx(0.3 * (clean[0].max() + 160), rel=0.02)
    size = load_yaml(repository / "config/real_slices.yaml")["patches"]["size"]
    assert np.load(folder / targets[0]).shape[1:] == (2, size, size)
