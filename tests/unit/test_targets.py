import math

import pytest

from quietct.errors import UserError
from quietct.experiment.settings import load_yaml
from quietct.experiment.sheet import preview_of, read_sheet
from quietct.experiment.targets import calibrations_of, check_targets, check_tasks, noise_free, series_of

REPEATS = (
    "nodule_layout=NoduleLayout_3, pitch=1.2, slice_thickness_mm=3, slice_increment_mm=3, recon_kernel=B40f, "
    "exposure_mas="
)
GAUSSIAN = {"white": {"model": "gaussian", "fraction": 0.1, "scale": "grey", "seed": 1}}
MEASURED = {"real": {"model": "measured"}}


@pytest.fixture
def sheet(repository, tmp_path):
    """Function that reads a sheet from the cells of its rows."""
    schema = load_yaml(repository / "workflow/schemas/series.schema.yaml")

    def read(*rows):
        columns = ["series", "source", "role", "target", "location", "select", "exposure_mas"]
        lines = [columns]
        for name, role, target, *select in rows:
            source = ["idc", role, target, "", *select] if select else ["directory", role, target, f"/data/{name}"]
            lines.append([name, *source])
        (tmp_path / "sheet.tsv").write_text("\n".join("\t".join(line) for line in lines))
        return read_sheet(tmp_path / "sheet.tsv", schema, repository / "resources/phantom_fda_series.tsv", "sheet.tsv")

    return read


def by_name(rows):
    return {row["series"]: row for row in rows}


def check(rows, noise=GAUSSIAN, **config):
    check_targets(rows, {"noise": noise, **config}, "sheet.tsv", "mine.yaml")


def test_a_target_names_one_row_or_several(sheet):
    rows = sheet(("a", "train", "high"), ("t", "test", "high_2 | truth|high_2"), ("high", "reference", ""),
                 ("high_2", "reference", ""), ("truth", "reference", ""))  # fmt: skip
    assert by_name(rows)["a"]["target"] == ["high"]
    assert by_name(rows)["t"]["target"] == ["high_2", "truth"]
    assert "target" not in by_name(rows)["high"]
    check(rows)
    check(rows, MEASURED)


def test_a_row_that_became_several_series_means_them_all(sheet):
    rows = by_name(sheet(("low", "train", "high", REPEATS + "25, repeat=1..2"), ("t", "test", "high_repeat3"),
                         ("high", "reference", "", REPEATS + "200, repeat=1..3")))  # fmt: skip
    high = ["high_repeat1", "high_repeat2", "high_repeat3"]
    assert rows["low_repeat1"]["target"] == rows["low_repeat2"]["target"] == high
    assert rows["t"]["target"] == ["high_repeat3"]


def test_the_series_itself_is_left_out_of_its_target(sheet):
    rows = by_name(sheet(("low", "both", "low", REPEATS + "25, repeat=1..3"), ("a", "both", "b"), ("b", "both", "a|b")))
    assert rows["low_repeat2"]["target"] == ["low_repeat1", "low_repeat3"]
    assert rows["a"]["target"] == ["b"]
    assert rows["b"]["target"] == ["a"]


def test_both_counts_as_train_and_as_test_and_can_be_shown(sheet):
    rows = sheet(("a", "both", ""), ("r", "reference", ""))
    assert series_of(rows, "train") == series_of(rows, "test") == ["a"]
    assert series_of(rows, "validation") == []
    assert preview_of(rows, None, "mine.yaml") == "a"
    with pytest.raises(UserError, match=r"mine\.yaml: preview\.series is 'r', which is a reference; choose a series"):
        preview_of(rows, "r", "mine.yaml")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [("a", "train", "hihg"), ("t", "test", "")],
            "sheet.tsv, line 2: the target 'hihg' of series a is not in the ",
        ),
        ([("a", "train", "t|"), ("t", "test", "")], "sheet.tsv, line 2: the target '' of series a is not in the sheet"),
        ([("a", "train", ""), ("t", "test", "t|t")], "sheet.tsv, line 3: series t is its own only target; "),
        (
            [("a", "train", ""), ("t", "test", ""), ("r", "reference", "t")],
            "sheet.tsv, line 4: a row with the role reference has no target of its own; leave the cell empty.",
        ),
    ],
)
def test_a_wrong_target_is_told_with_its_line(sheet, rows, sentence):
    with pytest.raises(UserError) as caught:
        sheet(*rows)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("a", "both", "")], "sheet.tsv: series a has the role both, which needs the key split in mine.yaml, "),
        (
            [("a", "train", ""), ("t", "test", ""), ("r", "reference", "")],
            "sheet.tsv: series r has the role reference, but is nobody's target and in no calibration of mine.yaml; ",
        ),
        # The target of a test series was trained on, as input or as target, or the reverse.
        ([("a", "train", "t"), ("t", "test", "")], "sheet.tsv: series a (train) and t (test) share the scan t; use "),
        ([("a", "train", ""), ("t", "test", "a")], "sheet.tsv: series a (train) and t (test) share the scan a; use "),
        (
            [("a", "train", "x"), ("b", "train", "r|x"), ("t", "test", "y|r"), *((n, "reference", "") for n in "rxy")],
            "sheet.tsv: series b (train) and t (test) share the scan r; use different series, or keep the two apart",
        ),
    ],
)
def test_roles_that_would_test_what_was_trained_on_are_refused(sheet, rows, sentence):
    with pytest.raises(UserError) as caught:
        check(sheet(*rows))
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "both", ""), ("b", "both", "a")],
        [("a", "train", "t"), ("t", "test", "")],
        [("a", "train", "r"), ("t", "test", "r"), ("r", "reference", "")],
    ],
)
def test_with_a_split_training_and_testing_may_share_scans(sheet, rows):
    check(sheet(*rows), split={"every": 7})


@pytest.mark.parametrize("role", ["train", "validation", "test", "both"])
def test_a_measured_noise_needs_a_target_for_every_series_that_is_denoised(sheet, role):
    rows = sheet(("a", "train", "r"), ("t", "test", "r"), ("x", role, ""), ("r", "reference", ""))
    check(rows, split={"every": 7})
    with pytest.raises(
        UserError, match=r"sheet\.tsv: series x needs a target, because the model of noise real in mine"
    ):
        check(rows, GAUSSIAN | MEASURED, split={"every": 7})


def test_a_calibration_takes_rows_and_series_and_uses_references(sheet):
    rows = sheet(("a", "train", ""), ("t", "test", ""), ("high", "reference", "", REPEATS + "200, repeat=1..3"))
    names = ["high_repeat1", "high_repeat2", "high_repeat3"]
    calibration = {"one": {"series": ["high"]}, "other": {"series": ["high_repeat2", "high_repeat1", "a"]}}
    found = calibrations_of({"calibration": calibration}, rows, "mine.yaml")
    assert found == {"one": names, "other": ["high_repeat2", "high_repeat1", "a"]}
    assert calibrations_of({}, rows, "mine.yaml") == {}
    check(rows, calibration={"one": {"series": ["high"]}})
    with pytest.raises(UserError, match="series high_repeat3 has the role reference, but is nobody's target"):
        check(rows, calibration={"other": calibration["other"]})


@pytest.mark.parametrize(
    ("series", "sentence"),
    [
        (["a", "b"], "mine.yaml: calibration.x.series has 'b', but the sheet has only a, t."),
        (["a"], "mine.yaml: calibration.x.series is a alone, but noise is told from what differs between repeats."),
    ],
)
def test_a_calibration_of_no_repeats_is_refused(sheet, series, sentence):
    with pytest.raises(UserError) as caught:
        check(sheet(("a", "train", ""), ("t", "test", "")), calibration={"x": {"series": series}})
    assert str(caught.value) == sentence


def test_the_synthetic_chest_has_a_scan_without_noise():
    assert noise_free({"source": "phantom", "exposure_mas": math.inf})
    assert not noise_free({"source": "phantom", "exposure_mas": 200})
    assert not noise_free({"source": "idc"})


def test_a_series_may_not_have_the_name_of_a_detection_task_that_will_be_made():
    rows = [
        {"series": "a", "source": "phantom", "role": "test"},
        {"series": "b", "source": "directory", "role": "test"},
        {"series": "b_detection", "source": "phantom", "role": "train"},
    ]
    check_tasks(rows, {"detection": {}}, "sheet.tsv")  # of DICOM files no task is made
    rows.append({"series": "a_detection", "source": "directory", "role": "reference"})
    check_tasks(rows, {}, "sheet.tsv")
    with pytest.raises(UserError, match="series a_detection has the name of the detection task of series a; "):
        check_tasks(rows, {"detection": {}}, "sheet.tsv")


def test_each_series_is_brought_together_with_scans_by_its_own_protocol(sheet_of_pairs):
    rows = by_name(sheet_of_pairs("recon_kernel, slice_thickness_mm"))
    assert rows["low_3mm_B60f_repeat1"]["target"] == ["high_3mm_B60f_repeat1", "high_3mm_B60f_repeat2"]
    assert rows["low_1.5mm_B40f_repeat1"]["target"] == ["high_1.5mm_B40f_repeat1", "high_1.5mm_B40f_repeat2"]
    assert not any("target_same" in row for row in rows.values())


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ("kernel", "sheet.tsv, line 2: target_same has 'kernel', but the columns are nodule_layout, "),
        ("", "sheet.tsv, line 2: target_same needs series of the table, which series t is not."),
        ("exposure_mas", "sheet.tsv, line 2: series low_1.5mm_B40f_repeat1 has no target, because no series of high "
         "has the same exposure_mas; name fewer columns "),
    ],
)  # fmt: skip
def test_a_series_without_a_scan_by_its_protocol_is_told(sheet_of_pairs, columns, sentence):
    with pytest.raises(UserError) as caught:
        sheet_of_pairs(columns)
    assert str(caught.value).startswith(sentence)


@pytest.fixture
def sheet_of_pairs(repository, tmp_path):
    """Function that reads a sheet of series by several protocols, whose targets have some columns in common."""
    schema = load_yaml(repository / "workflow/schemas/series.schema.yaml")
    kinds = "nodule_layout=NoduleLayout_3,pitch=1.2,slice_thickness_mm=1.5|3,slice_increment_mm=1.5,repeat=1..2"

    def read(columns):
        low = ["low", "idc", "train", "high", columns, "", f"{kinds},exposure_mas=25"]
        if not columns:  # outside the table
            low = ["t", "tcia", "train", "high", "recon_kernel", "1.3.6.1.4.1.14519.5.2.1.1", ""]
        lines = [
            ["series", "source", "role", "target", "target_same", "series_instance_uid", "select"],
            low,
            ["high", "idc", "reference", "", "", "", f"{kinds},exposure_mas=200"],
            ["own", "phantom", "test", "", "", "", ""],
        ]
        (tmp_path / "pairs.tsv").write_text("\n".join("\t".join(line) for line in lines))
        return read_sheet(tmp_path / "pairs.tsv", schema, repository / "resources/phantom_fda_series.tsv", "sheet.tsv")

    return read
