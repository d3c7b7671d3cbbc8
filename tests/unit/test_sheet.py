import pytest

from quietct.errors import UserError
from quietct.settings import load_yaml
from quietct.sheet import check_split, dataset_of, preview_of, read_sheet, selection_of
from quietct.targets import calibrations_of, check_targets, series_of

HEADER = "series\tsource\tlocation\trole\tnodule_layout\texposure_mas\trepeat\tn_slices\tseries_instance_uid\n"
TRAIN = "a\tphantom\t\ttrain\t1\t200\t1\t12\t\n"
TEST = "b\tphantom\t\ttest\t2\t200\t1\t12\t\n"


@pytest.fixture(scope="module")
def schema(repository):
    return load_yaml(repository / "workflow/schemas/series.schema.yaml")


@pytest.fixture(scope="module")
def collection(repository):
    return repository / "resources/phantom_fda_series.tsv"


@pytest.fixture
def sheet(tmp_path, schema, collection):
    def read(text):
        path = tmp_path / "sheet.tsv"
        path.write_text(text)
        return read_sheet(path, schema, collection, "sheet.tsv")

    return read


def public(*rows):
    """A sheet with the given rows, each by its cells, beside a training and a test series of the synthetic chest."""
    columns = [
        "series",
        "source",
        "role",
        "series_instance_uid",
        "select",
        "location",
        "n_slices",
        "acquisition_number",
    ]
    cells = [[row.get(name, "") for name in columns] for row in rows]
    own = [["own_train", "phantom", "train"], ["own_test", "phantom", "test", "", "", "", "5"]]
    return "\n".join("\t".join(map(str, line)) for line in [columns, *cells, *own])


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


# Two repeats of the article's scan, and a series of another archive.
FIRST = "1.2.840.113704.1.111.4116.1186756880.24"
SECOND = "1.2.840.113704.1.111.4116.1186757037.38"
OTHER = "1.3.6.1.4.1.14519.5.2.1.1"
PAIR = (
    "nodule_layout=NoduleLayout_3, pitch=1.2, slice_thickness_mm=3, slice_increment_mm=3, recon_kernel=B40f, "
    "exposure_mas=25"
)


def test_a_uid_of_the_table_brings_its_folder_and_what_to_expect(sheet):
    row, *_ = sheet(
        public({"series": "a", "source": "idc", "role": "train", "series_instance_uid": FIRST, "n_slices": 10})
    )
    assert row == {
        "series": "a",
        "source": "idc",
        "role": "train",
        "series_instance_uid": FIRST,
        "n_slices": 10,
        "location": "s3://idc-open-data/47261c68-8de8-4242-97d1-7a6ec3349102",
        "expected": {
            "n_slices": 119,
            "size_mb": 63.672,
            "crdc_series_uuid": "47261c68-8de8-4242-97d1-7a6ec3349102",
            "aws_bucket": "idc-open-data",
            "usual_n_slices": 119,
        },
    }
    assert dataset_of(row) == FIRST


def test_a_selection_becomes_a_row_for_each_series(sheet):
    rows = sheet(
        public({"series": "low", "source": "tcia", "role": "train", "select": PAIR + ", repeat=2..4", "n_slices": 7})
    )
    assert [row["series"] for row in rows] == ["low_repeat2", "low_repeat3", "low_repeat4", "own_train", "own_test"]
    assert len({dataset_of(row) for row in rows}) == 5
    for row in rows[:3]:
        assert set(row) == {"series", "row", "source", "role", "series_instance_uid", "n_slices", "expected"}
        assert (row["source"], row["role"], row["n_slices"], row["row"]) == ("tcia", "train", 7, "low")
        assert row["expected"]["usual_n_slices"] == 96


def test_a_series_outside_the_table_needs_its_folder_with_idc_and_nothing_with_tcia(sheet):
    row = {"series": "a", "role": "train", "series_instance_uid": OTHER}
    anywhere = {**row, "source": "idc", "location": "s3://idc-open-data-cr/8f3-1"}
    assert sheet(public(anywhere))[0] == anywhere
    assert sheet(public({**row, "source": "tcia"}))[0] == {**row, "source": "tcia"}


def test_the_table_is_only_read_if_a_row_is_of_a_collection(tmp_path, schema):
    path = tmp_path / "sheet.tsv"
    path.write_text(HEADER + TRAIN + TEST)
    assert len(read_sheet(path, schema, tmp_path / "absent.tsv")) == 2


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({}, "a row of source idc needs either series_instance_uid or"),
        ({"series_instance_uid": FIRST, "select": PAIR}, "a row of source idc needs either series_instance_uid or"),
        (
            {"series_instance_uid": OTHER},
            f"series_instance_uid {OTHER} is not in phantom_fda_series.tsv; name the folder that holds the series in "
            "its bucket as location, s3://<bucket>/<folder>.",
        ),
        ({"series_instance_uid": OTHER, "location": "/data/x"}, "location is '/data/x', but a folder of source idc is"),
        ({"series_instance_uid": OTHER, "location": "s3://b"}, "location is 's3://b', but a folder of source idc is"),
        ({"series_instance_uid": "../.."}, "series_instance_uid is '../..', but must be text that matches"),
        ({"series_instance_uid": ".."}, "series_instance_uid is '..', but must be text that matches"),
        ({"series_instance_uid": FIRST, "n_slices": 120}, "n_slices is 120, but series a has only 119."),
        ({"select": "kernel=C"}, "select: there is no column kernel; the columns are "),
        ({"select": PAIR + ", repeat=11"}, "select: no series is left by the condition repeat=11; those "),
        ({"select": PAIR, "location": "s3://bucket/folder"}, "location has no meaning beside the keys around it"),
        ({"source": "tcia", "series_instance_uid": FIRST, "location": "s3://a/b"}, "location has no meaning beside"),
        ({"source": "phantom", "select": PAIR}, "select has no meaning beside the keys around it; remove it."),
        ({"source": "phantom", "acquisition_number": 1}, "acquisition_number has no meaning beside the keys around it"),
        ({"source": "directory", "location": "x", "select": PAIR}, "select has no meaning beside the keys around it"),
    ],
)  # fmt: skip
def test_a_wrong_row_of_a_collection_is_told_with_its_line(sheet, cells, sentence):
    good = {"series": "b", "source": "idc", "role": "train", "series_instance_uid": SECOND}
    with pytest.raises(UserError) as caught:
        sheet(public(good, {"series": "a", "source": "idc", "role": "train", **cells}))
    assert str(caught.value).startswith(f"sheet.tsv, line 3: {sentence}") or str(caught.value).startswith(
        f"sheet.tsv, line 3{sentence}"
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["nodule_layout", "exposure_mas", "repeat", "slice_spacing_mm"])
@pytest.mark.parametrize("source", ["directory", "idc", "tcia"])
def test_columns_of_the_synthetic_chest_are_refused_elsewhere(sheet, source, column):
    place = "x" if source == "directory" else ""
    text = f"series\tsource\tlocation\trole\tseries_instance_uid\t{column}\na\t{source}\t{place}\ttrain\t{FIRST}\t1\n"
    with pytest.raises(UserError, match=rf"sheet\.tsv, line 2: {column} has no meaning beside the keys around it"):
        sheet(text)


def test_names_of_a_selection_must_differ_from_others(sheet):
    with pytest.raises(UserError, match=r"sheet\.tsv, line 3: line 2 already has the series own_train; "):
        sheet(public({"series": "own_train", "source": "idc", "role": "train", "select": PAIR + ", repeat=1"}))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"source": "idc"}, {"source": "tcia"}, True),
        ({"source": "idc"}, {"source": "idc"}, True),
        ({"source": "idc", "role": "train"}, {"source": "tcia", "role": "train"}, True),
        ({"source": "idc", "n_slices": 3}, {"source": "tcia"}, True),
        ({"source": "idc", "location": "s3://bucket/copy"}, {"source": "idc"}, True),
        ({"source": "idc"}, {"source": "directory", "location": "x"}, True),
        ({"source": "directory", "location": "y"}, {"source": "directory", "location": "x"}, True),
        ({"source": "idc"}, {"source": "tcia", "series_instance_uid": SECOND}, False),
        ({"source": "idc", "acquisition_number": 1}, {"source": "tcia"}, True),
        ({"source": "idc", "acquisition_number": 1}, {"source": "tcia", "acquisition_number": 1}, True),
        ({"source": "idc", "acquisition_number": 1}, {"source": "tcia", "acquisition_number": 2}, False),
        (
            {"source": "directory", "location": "x", "series_instance_uid": "", "acquisition_number": 1},
            {"source": "directory", "location": "x", "series_instance_uid": "", "acquisition_number": 2},
            False,
        ),
    ],
)
def test_a_series_is_the_same_data_wherever_it_comes_from(sheet, one, other, same):
    rows = sheet(
        public(
            {"series": "a", "role": "train", "series_instance_uid": FIRST, **one},
            {"series": "b", "role": "test", "series_instance_uid": FIRST, **other},
        )[: -len("own_test\tphantom\ttest\t\t\t\t5")]
        + "own_test\tdirectory\ttest\t\t\telsewhere"
    )
    if same:
        with pytest.raises(UserError, match=r"sheet\.tsv: series a \(\w+\) and b \(\w+\) are the same data; "):
            check_split(rows, "sheet.tsv")
    else:
        check_split(rows, "sheet.tsv")


def test_a_selection_that_overlaps_another_role_is_refused(sheet):
    rows = sheet(
        public(
            {"series": "low", "source": "idc", "role": "train", "select": PAIR + ", repeat=1..5"},
            {"series": "high", "source": "tcia", "role": "test", "select": PAIR + ", repeat=5..6"},
        )
    )
    with pytest.raises(UserError, match=r"low_repeat5 \(train\) and high_repeat5 \(test\) are the same data"):
        check_split(rows, "sheet.tsv")


def test_a_source_is_told_what_it_needs_and_no_more(sheet):
    rows = sheet(
        public(
            {"series": "a", "source": "idc", "role": "train", "series_instance_uid": FIRST, "acquisition_number": 2},
            {"series": "b", "source": "tcia", "role": "train", "series_instance_uid": OTHER},
            {"series": "c", "source": "directory", "role": "train", "location": "x", "n_slices": 3},
        )
    )
    download = {
        "idc_endpoint": "http://i",
        "tcia_endpoint": "http://t",
        "bandwidth_mbit": 9,
        "retries": 3,
        "timeout_s": 8,
    }
    told = {row["series"]: selection_of(row, "skip", download) for row in rows}
    assert told["a"] == {
        "series_instance_uid": FIRST,
        "expected": rows[0]["expected"],
        "downloads": "resources/downloads",
        "endpoint": "http://i",
        "retries": 3,
        "timeout_s": 8,
    }
    assert told["b"] == {**told["a"], "series_instance_uid": OTHER, "expected": None, "endpoint": "http://t"}
    assert told["c"] == {"series_instance_uid": None, "acquisition_number": None, "unusable": "skip"}
    assert {key: value for key, value in told["own_test"].items() if value is not None} == {"n_slices": 5}


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


SHEETS = ("demo", "article", "chen2017", "real_slices", "phantom_fda_article", "noise2noise", "phantom_fda")
OWN_CONFIG = {"noise2noise": "noise2noise", "phantom_fda": "phantom_fda"}  # all others fit where noise is added


def test_every_sheet_in_the_folder_is_tested(repository):
    assert {path.stem for path in (repository / "config").glob("*.tsv")} == set(SHEETS)


@pytest.mark.parametrize("name", SHEETS)
def test_every_shipped_sheet_is_valid_and_fits_the_shipped_configs(repository, schema, collection, name):
    rows = read_sheet(repository / f"config/{name}.tsv", schema, collection)
    check_split(rows, name)
    for path in (repository / "config").glob("*.yaml"):
        if path.stem != OWN_CONFIG.get(name, path.stem) or (path.stem in OWN_CONFIG and name not in OWN_CONFIG):
            continue
        config = load_yaml(path)
        check_targets(rows, config, name, path.name)
        preview = config["preview"]
        shown = next(row for row in rows if row["series"] == preview_of(rows, preview["series"], path.name))
        n_slices = shown.get("n_slices", shown.get("expected", {}).get("n_slices"))
        if n_slices is not None:
            assert (preview["slice"] or 0) < n_slices, path.name


def test_series_of_shipped_sheets_do_not_take_each_others_folders(repository, schema, collection):
    owners = {}
    for sheet in SHEETS:
        for row in read_sheet(repository / f"config/{sheet}.tsv", schema, collection):
            # Both configs of real slices use the same two folders.
            owner = row.get("location") or sheet
            assert owners.setdefault(dataset_of(row), owner) == owner


def test_the_sheet_of_dose_pairs_has_ten_scans_at_each_dose_of_a_gigabyte(repository, schema, collection):
    rows = read_sheet(repository / "config/phantom_fda.tsv", schema, collection)
    high = [f"high_repeat{k}" for k in range(1, 11)]
    low = [f"low_train_repeat{k}" for k in range(1, 9)] + [f"low_test_repeat{k}" for k in (9, 10)]
    assert [row["series"] for row in rows] == low + high
    assert all(row["target"] == high for row in rows[:10])
    assert len({row["series_instance_uid"] for row in rows}) == 20
    size_mb = sum(row["expected"]["size_mb"] for row in rows)
    assert f"{size_mb:.0f} MB, 20 series of 96 slices" in (repository / "config/phantom_fda.yaml").read_text()
    assert {row["expected"]["n_slices"] for row in rows} == {96}


def test_the_sheet_of_the_article_has_its_three_series(repository, schema, collection):
    rows = read_sheet(repository / "config/phantom_fda_article.tsv", schema, collection)
    study = "1.2.840.113704.1.111.4116."
    assert [row["series_instance_uid"].removeprefix(study) for row in rows] == [
        "1186756880.24", "1186757037.38", "1186757214.54",
    ]  # fmt: skip
    assert [(row["role"], row.get("n_slices")) for row in rows] == [("train", 10), ("validation", None), ("test", None)]
