"""Rows of public collections, alone or several by a selection."""

import pytest

from quietct.errors import UserError
from quietct.experiment.sheet import check_split, dataset_of, selection_of


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
