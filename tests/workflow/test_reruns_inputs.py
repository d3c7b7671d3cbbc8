"""What runs again after each change of the series sheet, the user's files, results, code and surroundings.

As in test_reruns, each row says by hand what a change ought to make anew.
"""

import csv
import os
import shutil
from pathlib import Path

import pytest
from plans import (
    FILTERS,
    PAGE,
    PHYSICS_PICTURES,
    TABLES,
    TRAINED,
    check,
    check_told,
    denoised,
    make_plan,
    measured,
    trained,
)


def phantom(series, role, layout, **cells):
    return {"series": series, "source": "phantom", "role": role, "nodule_layout": str(layout), "n_slices": "2", **cells}


def add(*rows):
    return lambda sheet: sheet.extend(rows)


def remove(series):
    return lambda sheet: sheet.remove(next(row for row in sheet if row["series"] == series))


def write(series, **cells):
    return lambda sheet: next(row for row in sheet if row["series"] == series).update(cells)


def both(*edits):
    return lambda sheet: [edit(sheet) for edit in edits]


PAIR = [{"series": "mine_2", "source": "directory", "location": "scan_2/below", "role": "apply"}]
LEARNED = ["tune_baseline *", *TRAINED, *FILTERS]
# What is made of the slices of a test series, and of its detection task.
TEST_1 = [
    *(f"{rule} *test_1" for rule in ("add_noise", "render_scroll_gif")),
    *denoised(series="test_1"),
    *PHYSICS_PICTURES,
    "make_detection_task test_1_detection",
    "add_noise */test_1_detection",
    "denoise_series */test_1_detection",
]
TEST_2 = ["convert_series test_2", "add_noise */test_2", *denoised(series="test_2"), "render_scroll_gif *-test_2",
    *PHYSICS_PICTURES]  # fmt: skip
TEST_3 = [job.replace("test_1", "test_3") for job in TEST_1]
NODULES_2 = ["locate_nodules test_2", *measured(series="test_2"), *PHYSICS_PICTURES]

SHEET = {
    "a series to train on added": [
        ("a series to train on is added", add(phantom("train_3", "train", 7)),
            ["fetch_series train_3", "convert_series train_3", "add_noise */train_3", "extract_patches */train_3",
             *LEARNED]),
    ],
    "a series to train on removed": [
        ("a series to train on is removed", both(remove("train_2"), remove("better_2")), LEARNED),
    ],
    "a `target` added": [
        ("a series gets a target", both(add(phantom("better_1", "reference", 1, exposure_mas="inf")),
            write("train_1", target="better_1")),
            ["fetch_series better_1", "convert_series better_1", "match_target train_1", "add_noise */train_1",
             "extract_patches */train_1", *LEARNED]),
    ],
    "another `role`": [
        ("a series to validate on is trained on", write("val_1", role="train"),
            ["extract_patches */val_1", *LEARNED, "plot_contact_sheet *"]),
    ],
    "a series to test on added, or with another scan": [
        ("a series to test on is added", add(phantom("test_3", "test", 7)),
            ["fetch_series test_3", "convert_series test_3", "locate_nodules test_3", *TEST_3]),
        ("a scan is another repeat", write("test_1", repeat="3"),
            ["fetch_series test_1", "convert_series test_1", *TEST_1]),
        ("a phantom has other nodules", write("test_1", nodule_layout="9"),
            ["fetch_series test_1", "convert_series test_1", "locate_nodules test_1", *TEST_1]),
    ],
    "a series to test on removed": [
        ("a series to test on is removed", remove("test_2"),
            [*TABLES, *PAGE, *PHYSICS_PICTURES, "plot_slice_quality *"]),
    ],
    "`n_slices` of a series that is not synthetic": [
        ("fewer slices of a series are used", write("test_2", n_slices="4"), TEST_2),
    ],
    "a series with the role `apply` added": [
        ("a series to denoise only is added", add(*PAIR), ["fetch_series mine_2", "denoise_dicom */mine_2", *PAGE]),
    ],
    "the order of the rows, a row that nothing is learned or measured of removed, 100.0 for 100": [
        ("another series to validate on is added", add(phantom("val_2", "validation", 7)), PAGE),  # not shown
        ("a series to denoise only is removed", remove("mine"), PAGE),
        ("100 is written 100.0", write("test_1", exposure_mas="100.0"), []),
        ("the rows have another order", lambda sheet: sheet.reverse(), PAGE),
    ],
    "a table of nodules edited or left out": [
        ("a table of nodules is left out", write("test_2", nodules=""), NODULES_2),
    ],
    "which images of a series with the role `apply` are used": [
        ("two cells trade their values", write("mine", acquisition_number="", n_slices="7"),
            ["fetch_series mine", "denoise_dicom */mine"]),
    ],
}  # fmt: skip


def rewrite(folder, edit):
    with open(folder / "rich.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    columns = list(rows[0])
    edit(rows)
    with open(folder / "changed.tsv", "w", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t", restval="")
        writer.writeheader()
        writer.writerows(rows)


def cases_of(table):
    return {
        "argvalues": [(row, *case[1:]) for row, cases in table.items() for case in cases],
        "ids": [case[0] for cases in table.values() for case in cases],
    }


@pytest.mark.parametrize(("row", "edit", "patterns"), **cases_of(SHEET))
def test_a_change_of_the_sheet_makes_anew_what_depends_on_it_and_nothing_else(rich, row, edit, patterns):
    rewrite(rich, edit)
    # The name of the sheet is in the config, and so in the record and on the page.
    plan = make_plan(rich, "--configfile", "rich.yaml", "--config", "series=changed.tsv")
    check(plan, {"record_run config", *patterns, *PAGE})
    check_told(plan, row)


@pytest.fixture
def copy(rich, tmp_path):
    """A copy of the finished experiment with the same file times, to be changed."""
    shutil.copytree(rich, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def touch(*paths):
    return lambda folder: [os.utime(path) for name in paths for path in sorted(folder.glob(name))]


def put(path, text="another text"):
    return lambda folder: (folder / path).write_text(text)


def delete(path):
    def removed(folder):
        found = list(folder.glob(path))
        assert found
        for one in found:
            shutil.rmtree(one) if one.is_dir() else one.unlink()

    return removed


FILES = {
    "a DICOM file of a folder edited, added or removed": [
        ("a DICOM file is edited", put("scan_2/below/b.dcm"), ["fetch_series test_2", *TEST_2]),
        ("a DICOM file is added", put("scan_2/c.dcm"), ["fetch_series test_2", *TEST_2]),
        ("a DICOM file is removed", delete("scan_2/a.dcm"), ["fetch_series test_2", *TEST_2]),
    ],
    "a table of nodules edited or left out": [
        ("a table of nodules is edited", put("nodules.tsv"), NODULES_2),
    ],
    "weights deleted": [
        ("weights are deleted", delete("results/rich/models/grey/small/sgd/seed2/weights.npz"),
            trained("grey", "sgd", "2")),
    ],
    "a picture deleted": [
        ("a picture is deleted", delete("results/rich/figures/grey/contact-sheet.png"),
            ["plot_contact_sheet grey/*", *PAGE]),
    ],
    "the summary deleted": [
        ("the summary is deleted", delete("results/rich/summary.tsv"),
            ["summarize_quality *", "export_weights *", *PAGE]),
    ],
    "files touched, copied with their dates or used up; logs, costs or `.snakemake` deleted": [
        ("DICOM files are touched", touch("scan_2", "scan_2/*", "scan_2/below/*", "mine/*"), []),
        ("a table of nodules is touched", touch("nodules.tsv"), []),
        ("volumes are deleted that are used up", delete("results/rich/noisy/*/train_1.npy"), []),
        ("logs are deleted", delete("logs"), []),
        ("the costs are deleted", delete("results/rich/benchmarks"), []),
        ("what Snakemake remembers is deleted", delete(".snakemake/metadata"), []),
        ("all is copied elsewhere", lambda folder: None, []),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("row", "change", "patterns"), **cases_of(FILES))
def test_a_change_of_files_makes_anew_what_depends_on_them_and_nothing_else(copy, row, change, patterns):
    (copy / "logs").mkdir(exist_ok=True)
    (copy / "results/rich/benchmarks").mkdir(exist_ok=True)
    change(copy)
    plan = make_plan(copy, "--configfile", "rich.yaml")
    check(plan, patterns)
    check_told(plan, row)


@pytest.mark.parametrize(
    "words",
    [
        ["--cores", "7"],
        ["--set-threads", "train_network=2"],
        ["--set-resources", "train_network:mem_mb=5000"],
        ["--resources", "downloads=1"],
        ["--latency-wait", "9"],
        ["--quiet", "rules"],
        ["--verbose"],
    ],
    ids=" ".join,
)
def test_how_it_is_run_makes_nothing_anew(rich, words):
    check(make_plan(rich, *words, "--configfile", "rich.yaml"), [])


def test_the_working_directory_of_the_shell_makes_nothing_anew(rich, tmp_path):
    plan = make_plan(tmp_path, "--directory", rich, "--configfile", rich / "rich.yaml")
    check(plan, [])


EDIT = "\nEDITED = True\n"
COMMENT = "\n# A comment.\n"
# The command `quietct denoise` draws a preview, and shares its code with this rule.
PREVIEW = ["denoise_dicom *"]
PICTURES = ["plot_*", "render_*", *PREVIEW, *PAGE]
READERS = [
    "convert_series *", "match_target *", "add_noise *", "extract_patches *", "make_detection_task *",
    "calibrate_noise *", "plot_calibration *", *LEARNED, *measured(), "render_scroll_gif *",
]  # fmt: skip

CODE = {
    "code in `nn/variants.py`": [
        ("scripts/quietct/nn/variants.py", EDIT, TRAINED),
    ],
    "code in `evaluation/metrics.py`": [
        ("scripts/quietct/evaluation/metrics.py", EDIT, ["measure_quality *", "plot_contact_sheet *", *PREVIEW,
            "plot_slice_quality *", *TABLES, *PAGE]),
    ],
    "code in `evaluation/tuning.py`": [
        ("scripts/quietct/evaluation/tuning.py", EDIT, ["tune_baseline *", *FILTERS]),
    ],
    "code in `figures/style.py`": [
        ("scripts/quietct/figures/style.py", EDIT, PICTURES),
    ],
    "code in `ct/volume.py`": [
        ("scripts/quietct/ct/volume.py", EDIT, READERS),
    ],
    "code in `ct/noise.py`": [
        ("scripts/quietct/ct/noise.py", EDIT, ["add_noise *", "extract_patches *", *LEARNED, *measured(),
            "render_scroll_gif *"]),
    ],
    "a template of the report": [
        ("scripts/quietct/report/templates/report.html.j2", COMMENT, PAGE),
    ],
    "code in `scripts/train_network.py`": [
        ("scripts/train_network.py", EDIT, TRAINED),
    ],
    "a comment, a docstring, a message, a log, resources, a schema, `environment.yml`": [
        ("scripts/quietct/nn/variants.py", COMMENT, []),
        ("scripts/quietct/logs.py", EDIT, []),
        ("scripts/quietct/experiment/settings.py", EDIT, []),  # what it gives is in the params
        ("scripts/quietct/experiment/sheet.py", EDIT, []),
        ("scripts/train_network.py", COMMENT, []),
        ("workflow/schemas/config.schema.yaml", COMMENT, []),
        ("environment.yml", COMMENT, []),
    ],
}  # fmt: skip


EDITS = [(row, *case) for row, cases in CODE.items() for case in cases]


@pytest.mark.parametrize(
    ("row", "name", "added", "patterns"), EDITS, ids=[f"{name} {added.split()[0]}" for _, name, added, _ in EDITS]
)
def test_an_edit_of_code_makes_anew_what_it_makes_and_nothing_else(rich, repository_copy, row, name, added, patterns):
    path = repository_copy / name
    text = path.read_text()
    try:
        path.write_text(text + added)
        plan = make_plan(rich, "--configfile", "rich.yaml", repository=repository_copy)
        check(plan, patterns)
        check_told(plan, row)
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Training {wildcards.network}", "Now training {wildcards.network}"),
        ("<logs>/train_network/{noise}/", "<logs>/trainings/{noise}/"),
        ('mem_mb=get_memory("train_network")', "mem_mb=9000"),
        ("priority: 100", "priority: 10"),
        ('"""\nPatch pairs in', '"""\nPatches in'),
    ],
    ids=["message", "log", "resources", "priority", "docstring"],
)
def test_what_a_rule_says_and_asks_for_makes_nothing_anew(rich, repository_copy, old, new):
    path = repository_copy / "workflow/rules/train.smk"
    text = path.read_text()
    assert old in text
    try:
        path.write_text(text.replace(old, new, 1))
        check(make_plan(rich, "--configfile", "rich.yaml", repository=repository_copy), [])
    finally:
        path.write_text(text)


def test_a_checkout_elsewhere_with_new_file_times_makes_nothing_anew(rich, repository_copy):
    for path in Path(repository_copy).rglob("*"):
        os.utime(path)
    check(make_plan(rich, "--configfile", "rich.yaml", repository=repository_copy), [])
