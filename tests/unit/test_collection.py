"""The table of Phantom_FDA, against what its publishers say of it, and the selection from it."""

import csv
import re
from collections import Counter

import pytest

from quietct.errors import UserError
from quietct.experiment.collection import PROTOCOL, name_series, read_collection, select_series

PAIRS = "nodule_layout=NoduleLayout_3, pitch=1.2, slice_thickness_mm=3, slice_increment_mm=3, recon_kernel=B40f"


@pytest.fixture(scope="module")
def path(repository):
    return repository / "resources/phantom_fda_series.tsv"


@pytest.fixture(scope="module")
def table(path):
    return read_collection(path)


def uids(rows):
    return {row["SeriesInstanceUID"] for row in rows}


def small(*counts, **cells):
    """Repeats of one scan, as `read_collection` gives them."""
    common = dict.fromkeys(PROTOCOL, "1") | {"StudyInstanceUID": "1.2"} | cells
    return [{**common, "repeat": number, "n_slices": n} for number, n in enumerate(counts, start=1)]


def test_the_table_holds_the_whole_collection(table):
    # Figures of the Imaging Data Commons, version 25.
    assert len(uids(table)) == len(table) == 4433
    assert sum(row["n_slices"] for row in table) == 1_468_751
    assert len({row["StudyInstanceUID"] for row in table}) == 76
    assert sum(row["size_mb"] for row in table) == pytest.approx(782_000, rel=0.01)
    # 720 series have a control byte instead of the increment.
    assert sum(row["slice_increment_mm"] == "" for row in table) == 720
    assert not any(re.search(r"[\x00-\x1f]", str(cell)) for row in table for cell in row.values())


def test_repeats_of_a_scan_are_counted_by_series_number(path, table):
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    article = [row for row in lines if row["SeriesInstanceUID"].endswith(("6880.24", "7037.38", "7214.54"))]
    numbers = [int(row["series_number"]) for row in article]
    found = {int(row["series_number"]): row["repeat"] for row in table if row["SeriesInstanceUID"] in uids(article)}
    repeats = [found[number] for number in sorted(numbers)]
    assert repeats == sorted(repeats)
    assert len(set(repeats)) == 3
    scans = Counter((row["StudyInstanceUID"], *(row[name] for name in PROTOCOL)) for row in table)
    assert Counter(scans.values()) == {10: 438, 9: 5, 8: 1}
    for scan, count in list(scans.items())[:50]:
        rows = [row for row in table if (row["StudyInstanceUID"], *(row[name] for name in PROTOCOL)) == scan]
        assert sorted(row["repeat"] for row in rows) == list(range(1, count + 1))
        by_number = sorted(rows, key=lambda row: int(row["series_number"]))
        assert [row["repeat"] for row in by_number] == sorted(row["repeat"] for row in rows)


def test_a_truncated_series_has_fewer_slices_than_is_usual(table):
    lacking = sorted(
        (row["n_slices"], row["usual_n_slices"]) for row in table if row["n_slices"] < 0.98 * row["usual_n_slices"]
    )
    # Repeats differ by up to three slices; nine lost a part.
    assert lacking == [
        (36, 119), (109, 198), (110, 119), (123, 197), (183, 427), (186, 191), (386, 427), (606, 745), (725, 745),
    ]  # fmt: skip


def test_a_selection_fulfils_all_conditions_and_numbers_are_numbers(table):
    rows = select_series(table, PAIRS + ", exposure_mas=25, repeat=1..10")
    assert len(rows) == 10
    assert [row["repeat"] for row in rows] == list(range(1, 11))
    assert {row["n_slices"] for row in rows} <= {95, 96, 97}
    assert {(row["exposure_mas"], row["recon_kernel"], row["scanner"]) for row in rows} == {("25", "B40f", "SIEMENS")}
    spelt = PAIRS.replace("=3,", "=3.0,").replace("B40f", "b40F") + ",exposure_mas = 25.0 ,repeat=01 .. 10"
    assert select_series(table, spelt) == rows


def test_several_values_and_ranges_add_up(table):
    rows = select_series(table, PAIRS + ", exposure_mas=25|200, repeat=2..3|7")
    assert [(row["exposure_mas"], row["repeat"]) for row in rows] == [
        ("25", 2), ("25", 3), ("25", 7), ("200", 2), ("200", 3), ("200", 7),
    ]  # fmt: skip


def test_an_unknown_increment_can_be_selected(table):
    assert len(select_series(table, "slice_increment_mm=")) == 720


def test_a_selection_is_ordered_by_number_whatever_the_table(table):
    rows = select_series(table, PAIRS + ", repeat=1..10")
    assert [row["exposure_mas"] for row in rows[::10]] == ["25", "100", "200"]
    assert select_series(table[::-1], PAIRS + ", repeat=1..10") == rows


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("repeat", "'repeat' is no condition; write column=value, with commas between conditions."),
        ("", "'' is no condition; write column=value"),
        ("repeat=1,,exposure_mas=25", "'' is no condition; write column=value"),
        ("=1", "'=1' is no condition; write column=value"),
        ("mas=25", "there is no column mas; the columns are nodule_layout, "),
        ("repeat=1, repeat=2", "there are two conditions on repeat; write several values as repeat=1|2."),
        ("repeat=3..1", "repeat=3..1 is no range; write it as lowest..highest, both numbers."),
        ("recon_kernel=B..C", "recon_kernel=B..C is no range; write it"),
        (
            "scanner=SIEMENS, recon_kernel=C, repeat=1",
            "no series is left by the condition recon_kernel=C; those that fulfil the conditions before it have "
            "B40f, B60f.",
        ),
        ("repeat=11..99", "no series is left by the condition repeat=11..99; those that fulfil the conditions before"),
        ("n_slices=1", "no series is left by the condition n_slices=1; those that fulfil the conditions before it"),
    ],
)  # fmt: skip
def test_a_wrong_selection_is_told_in_one_sentence(table, text, sentence):
    with pytest.raises(UserError) as caught:
        select_series(table, text)
    assert str(caught.value).startswith(sentence)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (PAIRS + ", exposure_mas=25, repeat=3", ["low"]),
        (PAIRS + ", exposure_mas=25, repeat=2..3", ["low_repeat2", "low_repeat3"]),
        (PAIRS + ", exposure_mas=25|200, repeat=1", ["low_25mAs", "low_200mAs"]),
        (
            PAIRS.replace("B40f", "B40f|B60f") + ", exposure_mas=25, repeat=1|2",
            ["low_B40f_repeat1", "low_B40f_repeat2", "low_B60f_repeat1", "low_B60f_repeat2"],
        ),
        # Scanned in two studies.
        (
            "nodule_layout=NoduleLayout_4,exposure_mas=200,pitch=0.9,slice_thickness_mm=3,recon_kernel=C,repeat=1",
            ["low_study1", "low_study2"],
        ),
    ],
)
def test_series_of_a_selection_are_named_after_what_varies(table, text, names):
    assert name_series("low", select_series(table, text)) == names


def test_what_varies_together_is_named_once():
    rows = small(1, slice_thickness_mm="2", slice_increment_mm="1") + small(1, slice_thickness_mm="3")
    assert name_series("x", rows) == ["x_2mm", "x_3mm"]


def test_all_names_of_the_whole_collection_differ_and_can_be_names_of_files(table):
    names = name_series("all", select_series(table, "repeat=1..99"))
    assert len(set(names)) == 4433
    assert all(re.fullmatch(r"[A-Za-z0-9_.]+", name) for name in names)
