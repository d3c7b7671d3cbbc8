"""Runs after changes, one after the other in one folder: in the end all is as a fresh run makes it, to the byte."""

import csv
import shutil

import numpy as np
import pydicom
import pytest
import yaml
from plans import make_plan

RUN = "results/tiny"
TARGET = f"{RUN}/summary.tsv"
SHEET = """\
series\tsource\tlocation\trole\tnodule_layout\tn_slices
train_1\tphantom\t\ttrain\t1\t2
test_1\tdirectory\tscan\ttest\t\t
"""


def state(folder):
    """Bytes and date of each result; costs and the record tell of the machine and the time."""
    found = {}
    for path in sorted((folder / RUN).rglob("*")):
        name = path.relative_to(folder / RUN).as_posix()
        if path.is_file() and not name.startswith(("benchmarks/", "stages.tsv", "config.yaml", "report.html", ".")):
            found[name] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found


def read_summary(folder):
    with open(folder / TARGET, newline="") as file:
        return {row["method"]: row for row in csv.DictReader(file, delimiter="\t")}


class Run:
    """An experiment that is changed and run again."""

    def __init__(self, folder, snakemake, repository, config):
        self.folder, self.snakemake, self.repository, self.config = folder, snakemake, repository, config

    def again(self):
        """Run, and give the files that stayed, were rewritten, and are new; nothing must be left to do."""
        before = state(self.folder) if (self.folder / RUN).exists() else {}
        (self.folder / "tiny.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False))
        outcome = self.snakemake(self.folder, TARGET, "--configfile", "tiny.yaml", repository=self.repository)
        assert outcome.status == 0, outcome.text
        assert not make_plan(self.folder, TARGET, "--configfile", "tiny.yaml", repository=self.repository).again
        after = state(self.folder)
        stayed = {name for name in after if after[name] == before.get(name)}
        return stayed, {name for name in after if name in before} - stayed, set(after) - set(before)


def lay_out(folder, scans):
    """Make an experiment's folder, with the sheet and the scan of its training."""
    shutil.copytree(scans / "dicom/train_1", folder / "resources/dicom/train_1")
    (folder / "tiny.tsv").write_text(SHEET)


@pytest.fixture
def edited_copy(repository_copy, tmp_path):
    """A copy of the repository of this test's own."""
    return shutil.copytree(repository_copy, tmp_path / "repository", copy_function=shutil.copy2)


def test_after_any_changes_the_results_are_those_of_a_fresh_run(snakemake, tiny_config, edited_copy, scans, tmp_path):
    # The trainings watch a series that stays.
    preview = {**tiny_config["preview"], "series": "train_1"}
    config = {**tiny_config, "baselines": {"median": {"size_px": [3]}}, "preview": preview}
    run = Run(tmp_path / "changed", snakemake, edited_copy, config)
    lay_out(run.folder, scans)
    shutil.copytree(scans / "dicom/test_1", run.folder / "scan")
    run.again()

    # A seed more: what was trained stays, bytes and date.
    config["train"] = {**config["train"], "seeds": [1, 2]}
    stayed, rewritten, new = run.again()
    assert rewritten == {"summary.tsv"}
    assert {name for name in new if "models/" in name and name.endswith("weights.npz")} == {
        f"models/gaussian_10/small/{variant}/seed2/weights.npz" for variant in config["variants"]
    }
    assert all("seed2" in name for name in new)
    assert {f"models/gaussian_10/small/{variant}/seed1/weights.npz" for variant in config["variants"]} <= stayed
    assert {"small-sgd-seed1", "small-sgd-seed2", "median", "noisy"} < set(read_summary(run.folder))

    # Another learning rate of one variant.
    config["variants"] = {**config["variants"], "sgd": {"learning_rate": 0.003}}
    _, rewritten, new = run.again()
    assert not new
    assert all("small-sgd-" in name or "small/sgd/" in name or name == "summary.tsv" for name in rewritten)
    assert sum(name.endswith("weights.npz") for name in rewritten) == 2

    # An edit of a module that adds 1 HU to every RMSE.
    path = edited_copy / "scripts/quietct/evaluation/metrics.py"
    text, old = path.read_text(), "    return float(np.sqrt("
    assert text.count(old) >= 1
    before = read_summary(run.folder)
    path.write_text(text.replace(old, "    return 1.0 + float(np.sqrt(", 1))
    _, rewritten, new = run.again()
    assert not new
    assert all(name.startswith("metrics/") or name == "summary.tsv" for name in rewritten)
    for method, row in read_summary(run.folder).items():
        assert float(row["rmse_hu"]) == pytest.approx(float(before[method]["rmse_hu"]) + 1, abs=1e-3)

    # One slice of the user's DICOM becomes denser.
    volume = np.load(run.folder / RUN / "volumes/test_1.npy")
    path = sorted((run.folder / "scan").glob("*.dcm"))[1]
    dataset = pydicom.dcmread(path)
    dataset.PixelData = (dataset.pixel_array + np.uint16(50)).astype(np.uint16).tobytes()
    dataset.save_as(path)
    stayed, _, new = run.again()
    assert not new
    difference = np.load(run.folder / RUN / "volumes/test_1.npy").astype(int) - volume
    assert [sorted(set(image.ravel())) for image in difference] == [[0], [50]]
    assert {name for name in stayed if "models/" in name} == {name for name in state(run.folder) if "models/" in name}
    assert "volumes/train_1.npy" in stayed

    # Stronger noise.
    config["noise"] = {"gaussian_10": {**config["noise"]["gaussian_10"], "fraction": 0.2}}
    noisy = float(read_summary(run.folder)["noisy"]["rmse_hu"])
    stayed, _, new = run.again()
    assert not new
    assert all(name.startswith(("volumes/", "nodules/")) for name in stayed)
    assert float(read_summary(run.folder)["noisy"]["rmse_hu"]) == pytest.approx(2 * (noisy - 1) + 1, rel=0.02)

    fresh = Run(tmp_path / "fresh", snakemake, edited_copy, config)
    lay_out(fresh.folder, scans)
    shutil.copytree(run.folder / "scan", fresh.folder / "scan")
    fresh.again()
    made, wanted = ({name: found[0] for name, found in state(one.folder).items()} for one in (run, fresh))
    assert made.keys() == wanted.keys()
    assert [name for name in made if made[name] != wanted[name]] == []


def test_another_title_makes_the_page_and_nothing_else(finished, snakemake, tiny_config, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    before = state(folder)
    config = {**tiny_config, "report": {"title": "Another title"}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    outcome = snakemake(folder, "--configfile", "tiny.yaml")
    assert outcome.status == 0, outcome.text
    assert outcome.jobs == {"record_run": 1, "build_report": 1, "all": 1}
    assert state(folder) == before
    assert "<title>Another title" in (folder / RUN / "report.html").read_text()
    assert yaml.safe_load((folder / RUN / "config.yaml").read_text())["config"] == config
    assert not make_plan(folder, "--configfile", "tiny.yaml").again
