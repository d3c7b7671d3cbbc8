import pytest

from quietct.errors import UserError
from quietct.experiment.sheet import check_split, preview_of, read_sheet
from quietct.experiment.targets import calibrations_of, check_targets, series_of

HEADER = "series\tsource\tlocation\trole\tnodule_layout\texposure_mas\trepeat\tn_slices\tseries_instance_uid\n"
TRAIN = "a\tphantom\t\ttrain\t1\t200\t1\t12\t\n"
TEST = "b\tphantom\t\ttest\t2\t200\t1\t12\t\n"


def test_cells_have_the_type_of_their_column_and_empty_ones_are_absent(sheet):
    first, second = sheet(HEADER + TRAIN + "\n" + "b\tphantom\t\ttest\t2\t12.5\t\t\t\n")
    assert first == {
        "series": "a",
        "source": "phantom",
        "role": "train",
        "nodule_layout": 1,
        "exposure_mas": 200,
        "repeat": 1,
        "n_slices": 12,
    }
    assert second == {"series": "b", "source": "phantom", "role": "test", "nodule_layout": 2, "exposure_mas": 12.5}


def test_roles_come_in_the_order_of_the_sheet(sheet):
    rows = sheet(HEADER + TEST + TRAIN + "v\tphantom\t\tvalidation\t3\t200\t1\t2\t\n")
    assert series_of(rows, "train") == ["a"]
    assert series_of(rows, "test") == ["b"]
    assert preview_of(rows, None, "x.yaml") == "v"
    assert preview_of(rows, "a", "x.yaml") == "a"
    assert preview_of(rows[:2], None, "x.yaml") == "b"
    with pytest.raises(UserError, match=r"x\.yaml: preview.series is 'z', but the sheet has only b, a, v\."):
        preview_of(rows, "z", "x.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "sheet.tsv has no column series in its first line; columns are separated by tabs."),
        ("series,source,role\n", "sheet.tsv has no column series in its first line; columns are separated by tabs."),
        ("series\tseries\n", "sheet.tsv has a column name twice in its first line."),
        (HEADER + TRAIN, "sheet.tsv has no series with the role test; at least one is needed."),
        (HEADER + TEST, "sheet.tsv has no series with the role train; at least one is needed."),
        (
            HEADER + TRAIN + TEST + TRAIN,
            "sheet.tsv, line 4: line 2 already has the series a; give each row its own name.",
        ),
        (HEADER + TRAIN.replace("phantom", "internet"), "sheet.tsv, line 2: source is 'internet', but must be one of"),
        (HEADER + TRAIN.replace("train", "training"), "sheet.tsv, line 2: role is 'training', but must be one of"),
        (HEADER + TRAIN.replace("\t12\t", "\ttwelve\t"), "sheet.tsv, line 2: n_slices is 'twelve', but must be of the"),
        (HEADER + TRAIN.replace("\t12\t", "\t0\t"), "sheet.tsv, line 2: n_slices is 0, but must be at least 1."),
        (HEADER + TRAIN.replace("\t200\t", "\tnan\t"), "sheet.tsv, line 2: exposure_mas is 'nan', but must be of the"),
        (HEADER + TRAIN.replace("\t200\t", "\t-inf\t"), "sheet.tsv, line 2: exposure_mas is '-inf', but must be of"),
        (HEADER + TRAIN.replace("\t12\t", "\tinf\t"), "sheet.tsv, line 2: n_slices is 'inf', but must be of the type"),
        (
            HEADER + TRAIN.replace("a\t", "a/b\t", 1),
            "sheet.tsv, line 2: series is 'a/b', but must be text that matches",
        ),
        (HEADER + "c\tdirectory\t\ttrain\n", "sheet.tsv, line 2 lacks the key location."),
        (HEADER + TRAIN.replace("\t\n", "\t../..\n"), "sheet.tsv, line 2: series_instance_uid "),
        (
            HEADER + "1.2.3" + TRAIN[1:] + TEST,
            "sheet.tsv, line 2: the name 1.2.3 looks like a UID; put a letter into it.",
        ),
        (HEADER + "c\tdirectory\tx\ttrain\t1\n", "sheet.tsv, line 2: nodule_layout has no meaning"),
        (HEADER + TRAIN.rstrip("\n") + "\t\t\t\n", "sheet.tsv, line 2 has 12 cells, but there are 9 columns."),
        ("series\tsource\trole\tdose\na\tphantom\ttrain\t1\n", "sheet.tsv, line 2 has the unknown key dose; known are"),
    ],
)
def test_a_wrong_sheet_is_told_in_one_sentence(sheet, text, sentence):
    with pytest.raises(UserError) as caught:
        sheet(text)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_missing_or_unreadable_sheet_is_named(tmp_path, schema, collection):
    with pytest.raises(UserError, match=r"The series sheet nowhere\.tsv does not exist"):
        read_sheet(tmp_path / "none.tsv", schema, collection, "nowhere.tsv")
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no tab-separated text file"):
        read_sheet(tmp_path / "binary.tsv", schema, collection)


def test_the_table_is_only_read_if_a_row_is_of_a_collection(tmp_path, schema):
    path = tmp_path / "sheet.tsv"
    path.write_text(HEADER + TRAIN + TEST)
    assert len(read_sheet(path, schema, tmp_path / "absent.tsv")) == 2


@pytest.mark.parametrize(
    ("train", "test", "shared"),
    [
        (TRAIN, TRAIN.replace("a", "b", 1).replace("train", "test"), True),
        # Fewer slices of the same series are the same slices.
        (TRAIN, TRAIN.replace("a", "b", 1).replace("train", "test").replace("\t12\t", "\t3\t"), True),
        (TRAIN, TEST, False),
        (TRAIN, TRAIN.replace("a", "b", 1).replace("train", "test").replace("200\t1", "200\t2"), False),
        (TRAIN, TRAIN.replace("a", "b", 1).replace("train", "test").replace("200", "inf"), False),
        # Without noise all repeats are one.
        (
            TRAIN.replace("200", "inf"),
            TRAIN.replace("a", "b", 1).replace("train", "test").replace("200\t1", "inf\t2"),
            True,
        ),
        ("a\tdirectory\tx\ttrain\n", "b\tdirectory\tx\ttest\n", True),
        ("a\tdirectory\tx\ttrain\n", "b\tdirectory\t./x\ttest\n", True),
        ("a\tdirectory\tx\ttrain\n", "b\tdirectory\ty\ttest\n", False),
        ("a\tdirectory\tx\ttrain\t\t\t\t\t1.2\n", "b\tdirectory\tx\ttest\t\t\t\t\t1.3\n", False),
        ("a\tdirectory\tx\ttrain\t\t\t\t\t1.2\n", "b\tdirectory\tx\ttest\t\t\t\t\t\n", True),
    ],
)
def test_train_and_test_must_not_be_the_same_data(sheet, train, test, shared):
    from os.path import normpath

    rows = sheet(HEADER + train + test)
    if not shared:
        check_split(rows, "sheet.tsv", normpath)
        return
    with pytest.raises(UserError, match=r"sheet\.tsv: series a \(train\) and b \(test\) are the same data"):
        check_split(rows, "sheet.tsv", normpath)


APPLY = "c\tdirectory\t/data/c\tapply\t\t\t\t\t\n"


def test_a_series_that_is_only_denoised_has_no_other_role_and_needs_no_target(sheet):
    rows = sheet(HEADER + TRAIN + TEST + APPLY)
    assert {role: series_of(rows, role) for role in ("train", "test", "validation", "reference", "apply")} == {
        "train": ["a"], "test": ["b"], "validation": [], "reference": [], "apply": ["c"],
    }  # fmt: skip
    paired = [{**rows[0], "target": ["r"]}, {**rows[1], "target": ["s"]}, rows[2]]
    paired += [{**rows[0], "series": name, "role": "reference"} for name in "rs"]
    check_targets(paired, {"noise": {"real": {"model": "measured"}}}, "sheet.tsv", "mine.yaml")
    with pytest.raises(UserError, match="no series with the role test"):
        sheet(HEADER + TRAIN + APPLY)


@pytest.mark.parametrize("apply", [TRAIN, TEST, "c\tdirectory\t./x\tapply\t\t\t\t\t\n"])
def test_what_was_trained_on_or_tested_may_be_denoised_too_but_not_twice(sheet, apply):
    from os.path import normpath

    apply = apply.replace(apply[0], "c", 1).replace("train", "apply").replace("test", "apply")
    rows = sheet(HEADER + TRAIN + TEST + "x\tdirectory\tx\tvalidation\n" + apply)
    check_split(rows, "sheet.tsv", normpath)
    rows = sheet(HEADER + TRAIN + TEST + apply + apply.replace("c", "d", 1))
    with pytest.raises(
        UserError, match=r"sheet\.tsv: series c \(apply\) and d \(apply\) are the same data; remove one"
    ):
        check_split(rows, "sheet.tsv", normpath)


def test_a_series_that_is_only_denoised_is_no_target_no_repeat_and_no_preview(sheet):
    header, train, test, apply = (line.replace("\n", f"\t{end}\n") for line, end in
                                  [(HEADER, "target"), (TRAIN, "c"), (TEST, ""), (APPLY, "")])  # fmt: skip
    with pytest.raises(
        UserError, match=r"sheet\.tsv, line 2: the target 'c' of series a has the role apply and is only"
    ):
        sheet(header + train + test + apply)
    with pytest.raises(UserError, match=r"sheet\.tsv, line 4: a row with the role apply has no target of its own; "):
        sheet(header + train.replace("\tc\n", "\t\n") + test + apply.replace("\t\n", "\tb\n"))
    rows = sheet(HEADER + TRAIN + TEST + APPLY)
    with pytest.raises(UserError, match=r"mine\.yaml: preview\.series is 'c', which has the role apply; choose"):
        preview_of(rows, "c", "mine.yaml")
    with pytest.raises(UserError, match=r"mine\.yaml: calibration\.x\.series has 'c', which has the role apply and is"):
        calibrations_of({"calibration": {"x": {"series": ["a", "c"]}}}, rows, "mine.yaml")
