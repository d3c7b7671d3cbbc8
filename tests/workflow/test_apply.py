"""Series with the role apply: DICOM in, denoised DICOM out, and nothing else of them."""

import csv
import shutil

import numpy as np
import pydicom
import pytest
import yaml
from dicom_files import write_slice
from test_privacy import DAMAGES, NEEDLES, encoded, image, leaks, searched

from quietct.ct.dicom.series import read_series
from quietct.nn.inference import TiledInference
from quietct.nn.weights import load_network

METHODS = ["small-sgd-seed1", "small-dilated_gradient_noise-seed1"]
DERIVED = "results/tiny/dicom/gaussian_10"
MODEL = "results/tiny/models/gaussian_10/small"
TARGETS = [f"{DERIVED}/{method}/mine" for method in METHODS]
HEADER = "series\tsource\tlocation\trole\tnodule_layout\tn_slices\tacquisition_number\tseries_instance_uid"
TRAIN, TEST = "train_1\tphantom\t\ttrain\t1\t2", "test_1\tphantom\t\ttest\t2\t2"
MINE = "mine\tdirectory\tscan\tapply\t\t3\t7\t1.2.3.4"


def write_sheet(folder, *rows):
    (folder / "tiny.tsv").write_text("\n".join([HEADER, TRAIN, TEST, *rows]) + "\n")


BODY = np.add(*(offset**2 for offset in np.mgrid[-20:28, -20:20])) < 300


def write_scan(folder, **attributes):
    """Slices of a noisy disk that tell their height."""
    for k in range(4):
        stored = np.where(BODY, 1024 + 20 * k, 24) + np.random.default_rng(k).normal(0, 60, BODY.shape).clip(-24)
        values = {"InstanceNumber": k + 1, "SOPInstanceUID": f"{attributes['SeriesInstanceUID']}.{k}"} | attributes
        write_slice(folder / f"{values['SOPInstanceUID']}.dcm", 3 * k, stored.round().astype(np.uint16), **values)


@pytest.fixture(scope="module")
def applied(tmp_path_factory, finished, snakemake):
    """A finished run to which a series was added that is only denoised, and what was planned and said at that."""
    folder = tmp_path_factory.mktemp("applied") / "run"
    shutil.copytree(finished, folder)
    # Beside the wanted slices lie another acquisition and another series.
    write_scan(folder / "scan", SeriesInstanceUID="1.2.3.4", AcquisitionNumber=7)
    write_slice(folder / "scan/other.dcm", 1.5, SeriesInstanceUID="1.2.3.4", AcquisitionNumber=8)
    write_scan(folder / "scan", SeriesInstanceUID="1.2.3.5", AcquisitionNumber=7)
    write_sheet(folder, MINE)
    outcome = snakemake(folder, "--configfile", "tiny.yaml")
    assert outcome.status == 0, outcome.text
    return folder, outcome


@pytest.fixture
def folder_of_mine(tmp_path, applied):
    """A copy of that run, to be changed by a test."""
    shutil.copytree(applied[0], tmp_path / "run")
    return tmp_path / "run"


def datasets(folder):
    """The images of a folder in the order of their height, and nothing but images in it."""
    images = [pydicom.dcmread(path) for path in folder.rglob("*") if path.suffix == ".dcm"]
    return sorted(images, key=lambda ds: ds.ImagePositionPatient[2])


def hu(ds):
    return ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)


def test_adding_a_series_denoises_that_one_and_trains_nothing(applied):
    jobs = applied[1].jobs
    # The report lists the series of the run.
    assert jobs == {"all": 1, "fetch_series": 1, "denoise_dicom": len(METHODS), "build_report": 1}
    # No volume, noise, picture or number is made of it.
    made = {
        path.relative_to(applied[0] / "results/tiny").parts[0] for path in applied[0].glob("results/tiny/**/*mine*")
    }
    assert made == {"dicom", "benchmarks"}


def test_each_network_of_the_first_seed_makes_a_derived_series_of_the_wanted_slices(applied):
    folder, _ = applied
    source = datasets(folder / "scan")
    chosen = [ds for ds in source if ds.SeriesInstanceUID == "1.2.3.4" and ds.AcquisitionNumber == 7][:3]
    series = set()
    for method, target in zip(METHODS, TARGETS, strict=True):
        derived = datasets(folder / target)
        assert [ds.ImagePositionPatient for ds in derived] == [ds.ImagePositionPatient for ds in chosen]
        assert not {ds.SOPInstanceUID for ds in derived} & {ds.SOPInstanceUID for ds in source}
        assert {ds.StudyInstanceUID for ds in derived} == {"1.2.3"}
        assert {ds.ImageType[0] for ds in derived} == {"DERIVED"}
        assert all("research use" in ds.SeriesDescription.lower() for ds in derived)
        series |= {ds.SeriesInstanceUID for ds in derived}
        _, variant, seed = method.split("-")
        network, description = load_network(folder / MODEL / variant / seed / "weights.npz")
        for before, after in zip(chosen, derived, strict=True):
            assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
            with TiledInference(network, 48, 40) as inference:
                expected = inference.denoise_hu(hu(before), description["normalisation"])
            assert np.abs(hu(after) - np.maximum(expected, -1024))[BODY].max() <= 0.501  # no stored value is less
            assert np.abs(hu(after) - hu(before))[BODY].max() > 5
    assert len(series) == len(METHODS)
    assert not series & {ds.SeriesInstanceUID for ds in source}
    # It can be read as any other series.
    assert len(read_series(folder / TARGETS[0]).images) == 3


def test_weights_to_pass_on_are_those_of_the_run_with_what_was_measured_of_them(finished):
    with open(finished / "results/tiny/summary.tsv", newline="") as file:
        measured = {row["method"]: row for row in csv.DictReader(file, delimiter="\t")}
    for method in METHODS:
        network, description = load_network(finished / f"results/tiny/weights/gaussian_10-{method}.npz")
        _, variant, seed = method.split("-")
        trained, before = load_network(finished / MODEL / variant / seed / "weights.npz")
        assert np.array_equal(network.parameters, trained.parameters)
        quality = description.pop("quality")
        assert description == before
        assert "quality" not in before
        for key, row in (("denoised", method), ("noisy", "noisy")):
            assert quality[key]["psnr_db"] == pytest.approx(float(measured[row]["psnr_db"]))


def test_a_second_run_has_nothing_to_do(applied, snakemake):
    outcome = snakemake(applied[0], "-n", "--configfile", "tiny.yaml")
    assert outcome.status == 0
    assert "Nothing to be done" in outcome.text


def test_another_series_is_denoised_alone_and_other_slices_of_one_are_denoised_again(folder_of_mine, snakemake):
    def planned(*rows):
        write_sheet(folder_of_mine, *rows)
        outcome = snakemake(folder_of_mine, "-n", "--configfile", "tiny.yaml")
        assert outcome.status == 0, outcome.text
        return outcome

    jobs = {"all": 1, "fetch_series": 1, "denoise_dicom": len(METHODS), "build_report": 1}
    for row in (
        "more\tphantom\t\tapply\t3\t2",
        "more\tphantom\t\tapply\t1\t2",
        "more\tdirectory\tscan/other.dcm\tapply",
    ):
        outcome = planned(MINE, row)
        assert outcome.jobs == jobs
        assert f"{DERIVED}/{METHODS[0]}/more" in outcome.text
        assert "Denoising the DICOM series mine" not in outcome.text
    assert planned(MINE.replace("\t3\t", "\t2\t")).jobs == {"all": 1, "denoise_dicom": len(METHODS)}
    assert "Nothing to be done" in planned(MINE).text


def test_other_weights_make_another_series(folder_of_mine, snakemake):
    before = datasets(folder_of_mine / TARGETS[0])
    settings = (folder_of_mine / "tiny.yaml").read_text()
    assert "\n  sgd: {}\n" in settings
    (folder_of_mine / "tiny.yaml").write_text(settings.replace("  sgd: {}", "  sgd: {learning_rate: 0.02}"))
    plan = snakemake(folder_of_mine, "-n", "--configfile", "tiny.yaml")
    assert (plan.jobs["train_network"], plan.jobs["denoise_dicom"]) == (1, 1)
    outcome = snakemake(folder_of_mine, TARGETS[0], "--configfile", "tiny.yaml")
    assert outcome.status == 0, outcome.text
    after = datasets(folder_of_mine / TARGETS[0])
    for one, other in zip(before, after, strict=True):
        assert one.PixelData != other.PixelData
        assert one.SOPInstanceUID != other.SOPInstanceUID
        assert one.SeriesInstanceUID != other.SeriesInstanceUID


def test_a_series_made_again_is_the_same_to_the_byte(folder_of_mine, snakemake):
    def files():
        return {path.name: path.read_bytes() for path in (folder_of_mine / TARGETS[0]).rglob("*") if path.is_file()}

    before = files()
    (folder_of_mine / TARGETS[0] / "letter.txt").write_text("not ours")
    outcome = snakemake(folder_of_mine, TARGETS[0], "--configfile", "tiny.yaml", "--forcerun", "denoise_dicom")
    assert outcome.status == 0, outcome.text
    assert outcome.jobs == {"denoise_dicom": 1}
    assert files() == before


def test_neither_volume_nor_picture_nor_number_of_it_can_be_asked_for(applied, snakemake):
    made_of_mine = ["results/tiny/volumes/mine.npy", f"results/tiny/denoised/gaussian_10/{METHODS[0]}/mine.npy"]
    # Nor a derived series by what is no network, or of what is not to be denoised as DICOM.
    for target in (*made_of_mine, f"{DERIVED}/median/mine", f"{DERIVED}/{METHODS[0]}/test_1"):
        outcome = snakemake(applied[0], "-n", target, "--configfile", "tiny.yaml")
        assert outcome.status != 0
        # No rule makes it, or a rule would need a volume of it, which no rule makes.
        assert "MissingRuleException" in outcome.text or "volumes/mine.npy" in outcome.text.split("MissingInput")[1]


@pytest.mark.parametrize(
    ("attributes", "n_slices", "words"),
    [
        ({}, 9, "has 4 slices, fewer than the column `n_slices` says (9)"),
        ({"SeriesInstanceUID": "1.2.3.9"}, 3, "does not contain series 1.2.3.4"),
    ],
)
def test_what_cannot_be_denoised_ends_with_one_sentence_and_no_output(
    folder_of_mine, snakemake, attributes, n_slices, words
):
    for name in ("scan", "results/tiny/dicom"):
        shutil.rmtree(folder_of_mine / name)
    write_scan(folder_of_mine / "scan", **{"SeriesInstanceUID": "1.2.3.4", "AcquisitionNumber": 7, **attributes})
    write_sheet(folder_of_mine, MINE.replace("\t3\t", f"\t{n_slices}\t"))
    outcome = snakemake(folder_of_mine, TARGETS[0], "--configfile", "tiny.yaml")
    assert outcome.status != 0
    assert "Traceback" not in outcome.text
    assert len([sentence for sentence in outcome.errors if words in sentence]) == 1, outcome.text
    assert not (folder_of_mine / TARGETS[0]).exists()


@pytest.mark.parametrize("deidentify", [False, True])
def test_what_the_source_says_of_the_patient_is_in_the_dicom_files_alone(folder_of_mine, snakemake, deidentify):
    """With `deidentify_dicom` it isn't even there. Damaged files are left out, and say nothing either."""
    folder = folder_of_mine
    shutil.rmtree(folder / "scan")
    (folder / "dicom/scan").mkdir(parents=True)
    damaged = [DAMAGES[name](2 + k) for k, name in enumerate(("cut_pixels", "no_rescale", "name_too_long"))]
    for k, data in enumerate([encoded(image(0)), encoded(image(1)), *damaged]):
        (folder / f"dicom/scan/{k}.dcm").write_bytes(data)
    write_sheet(folder, "mine\tdirectory\tdicom/scan\tapply")
    settings = (folder / "tiny.yaml").read_text()
    added = {"unusable_dicom": "skip", "deidentify_dicom": deidentify}
    (folder / "tiny.yaml").write_text(settings + yaml.safe_dump(added))
    outcome = snakemake(folder, "--configfile", "tiny.yaml")
    assert outcome.status == 0, outcome.text
    assert not leaks("screen", outcome.text.encode())
    derived = folder / "dicom/derived"  # where the search does not look
    shutil.move(folder / "results/tiny/dicom", derived)
    found, seen = searched(folder)
    assert not found
    assert {"results", "logs", ".snakemake"} <= set(seen)
    files = [path for path in derived.rglob("*") if path.is_file()]
    for path in files:
        told = {needle for _, needle in leaks("file", path.read_bytes())}
        if deidentify or path.suffix != ".dcm":
            assert not told
        else:
            assert {"Zyxwvutov", "PID7734519", "19471103"} <= told <= set(NEEDLES)
    assert sum(path.suffix == ".dcm" for path in files) == 2 * len(METHODS)
