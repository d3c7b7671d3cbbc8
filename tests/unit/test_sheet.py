import pytest

from quietct.errors import UserError
from quietct.settings import load_yaml
from quietct.sheet import check_split, preview_of, read_sheet, series_of

HEADER = "series\tsource\tlocation\trole\tnodule_layout\texposure_mas\trepeat\tn_slices\tseries_instance_uid\n"
TRAIN = "a\tphantom\t\ttrain\t1\t200\t1\t12\t\n"
TEST = "b\tphantom\t\ttest\t2\t200\t1\t12\t\n"


@pytest.fixture(scope="module")
def schema(repository):
    return load_yaml(repository / "workflow/schemas/series.schema.yaml")


@pytest.fixture
def sheet(tmp_path, schema):
    def read(text):
        path = tmp_path / "sheet.tsv"
        path.write_text(text)
        return read_sheet(path, schema, "sheet.tsv")

    return read


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
        (HEADER + TRAIN + TEST + TRAIN, "sheet.tsv has the series a twice; give each row its own name."),
        (HEADER + TRAIN.replace("phantom", "internet"), "sheet.tsv, line 2: source is 'internet', but must be one of"),
        (HEADER + TRAIN.replace("train", "training"), "sheet.tsv, line 2: role is 'training', but must be one of"),
        (HEADER + TRAIN.replace("\t12\t", "\ttwelve\t"), "sheet.tsv, line 2: n_slices is 'twelve', but must be of the"),
        (HEADER + TRAIN.replace("\t12\t", "\t0\t"), "sheet.tsv, line 2: n_slices is 0, but must be at least 1."),
        (HEADER + TRAIN.replace("\t200\t", "\tnan\t"), "sheet.tsv, line 2: exposure_mas is 'nan', but must be of the"),
        (
            HEADER + TRAIN.replace("a\t", "a/b\t", 1),
            "sheet.tsv, line 2: series is 'a/b', but must be text that matches",
        ),
        (HEADER + "c\tdirectory\t\ttrain\n", "sheet.tsv, line 2 lacks the key location."),
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


def test_a_missing_or_unreadable_sheet_is_named(tmp_path, schema):
    with pytest.raises(UserError, match=r"The series sheet nowhere\.tsv does not exist"):
        read_sheet(tmp_path / "none.tsv", schema, "nowhere.tsv")
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no tab-separated text file"):
        read_sheet(tmp_path / "binary.tsv", schema)


@pytest.mark.parametrize(
    ("train", "test", "shared"),
    [
        (TRAIN, TRAIN.replace("a", "b", 1).replace("train", "test"), True),
        # Fewer slices of the same series are the same slices.
        (TRAIN, TRAIN.replace("a", "b", 1).replace("train", "test").replace("\t12\t", "\t3\t"), True),
        (TRAIN, TEST, False),
        (TRAIN, TRAIN.replace("a", "b", 1).replace("train", "test").replace("200\t1", "200\t2"), False),
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


@pytest.mark.parametrize("name", ["demo", "article", "chen2017", "real_slices"])
def test_shipped_sheets_are_valid_and_split(repository, schema, name):
    rows = read_sheet(repository / f"config/{name}.tsv", schema)
    check_split(rows, name)
