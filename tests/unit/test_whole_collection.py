"""config/phantom_fda_all: every series of the table once, the held-out layout apart. The table is read anew here."""

import csv
from collections import Counter, defaultdict

import pytest

from quietct.experiment.settings import load_yaml
from quietct.experiment.sheet import preview_of, read_sheet, shown_of
from quietct.experiment.targets import series_of

HELD_OUT = "NoduleLayout_6"
PROTOCOL = ("nodule_layout", "pitch", "slice_collimation", "slice_thickness_mm", "slice_increment_mm", "recon_kernel")


@pytest.fixture(scope="module")
def table(repository):
    with open(repository / "resources/phantom_fda_series.tsv", newline="") as file:
        return {row["SeriesInstanceUID"]: row for row in csv.DictReader(file, delimiter="\t")}


@pytest.fixture(scope="module")
def rows(repository):
    schema = load_yaml(repository / "workflow/schemas/series.schema.yaml")
    return read_sheet(
        repository / "config/phantom_fda_all.tsv", schema, repository / "resources/phantom_fda_series.tsv"
    )


@pytest.fixture(scope="module")
def config(repository):
    return load_yaml(repository / "config/phantom_fda_all.yaml")


def test_all_4433_series_are_named_and_each_once(table, rows):
    assert Counter(row["series_instance_uid"] for row in rows) == Counter(table.keys())
    assert len(rows) == 4433


def test_the_held_out_layout_is_tested_and_no_other_one(table, rows):
    layouts = defaultdict(set)
    for row in rows:
        layouts[row["role"]].add(table[row["series_instance_uid"]]["nodule_layout"])
    assert layouts["test"] == {HELD_OUT}
    assert layouts["train"] == {f"NoduleLayout_{k}" for k in (1, 2, 3, 4, 7, 8)}
    assert set(layouts) == {"train", "test", "reference"}


def test_targets_are_the_complete_scans_at_200_mas_of_the_same_layout_and_protocol(table, rows):
    uids = {row["series"]: row["series_instance_uid"] for row in rows}
    longest = {}  # slices of the longest repeat of a scan
    for cells in table.values():
        scan = (cells["StudyInstanceUID"], *(cells[name] for name in PROTOCOL))
        longest[scan] = max(longest.get(scan, 0), int(cells["n_slices"]))
    for row in rows:
        own = table[row["series_instance_uid"]]
        assert ("target" in row) == (row["role"] != "reference")
        for name in row.get("target", []):
            other = table[uids[name]]
            assert other["exposure_mas"] == "200"
            assert {own[column] == other[column] for column in PROTOCOL} == {True}
            assert longest[other["StudyInstanceUID"], *(other[c] for c in PROTOCOL)] - int(other["n_slices"]) <= 3
        if "target" in row:
            assert 9 <= len(row["target"]) <= 10


def test_no_target_comes_from_another_length_of_scan(table, rows):
    # Layout 4 was scanned twice by what the table calls one protocol; slices of the two do not lie at one height.
    uids = {row["series"]: row["series_instance_uid"] for row in rows}
    for row in rows:
        lengths = {int(table[uids[name]]["n_slices"]) for name in row.get("target", [])}
        assert not lengths or max(lengths) - min(lengths) <= 1


def test_only_incomplete_scans_at_200_mas_are_trained_on(table, rows):
    trained = [table[row["series_instance_uid"]] for row in rows if row["role"] == "train"]
    assert Counter(row["exposure_mas"] for row in trained) == {"20": 180, "25": 1135, "50": 120, "100": 1319, "200": 4}
    assert sorted(int(row["n_slices"]) for row in trained if row["exposure_mas"] == "200") == [110, 123, 186, 606]


def test_what_the_config_says_of_the_sheet_is_so(repository, table, rows, config):
    text = (repository / "config/phantom_fda_all.yaml").read_text()
    assert "4,433 series, 1.5 million slices, 782 GB" in text
    assert round(sum(int(row["n_slices"]) for row in table.values()), -5) == 1_500_000
    assert round(sum(float(row["size_mb"]) for row in table.values()) / 1000) == 782
    slices = sum(row["expected"]["n_slices"] for row in rows if row["role"] == "train")
    assert "900,000 in all" in text
    assert round(slices, -5) == 900_000
    assert f"of {len(series_of(rows, 'test'))} test series" in text


def test_what_the_page_on_scale_says_of_the_sheet_is_so(repository, rows):
    text = (repository / "docs/scale.md").read_text()
    roles = Counter(row["role"] for row in rows)
    parts = sum(row["row"].startswith("part") for row in rows)
    for role, count in (("train", roles["train"] - parts), ("train", parts), ("test", 240), ("reference", 1435)):
        assert f"| `{role}` | {count:,} |" in text
        assert count <= roles[role]
    slices = sum(row["expected"]["n_slices"] for row in rows if row["role"] == "train")
    assert f"12 trainings of {slices:,} patches" in text


def test_four_variants_with_three_seeds_are_trained(config):
    assert set(config["variants"]) == {"sgd", "gradient_noise", "dilated", "dilated_gradient_noise"}
    assert len(config["train"]["seeds"]) == 3


def test_pictures_show_a_few_series_of_different_protocols(table, rows, config):
    tested = sorted(series_of(rows, "test"))
    shown = shown_of(tested, preview_of(rows, config["preview"]["series"], "x"), config["preview"]["most_series"])
    assert len(shown) == 12
    assert shown == [series for series in tested if series in shown]
    uids = {row["series"]: row["series_instance_uid"] for row in rows}
    protocols = {tuple(table[uids[name]][c] for c in (*PROTOCOL, "exposure_mas")) for name in shown}
    assert len(protocols) >= 11  # another one may have the protocol of the preview
    assert {protocol[-1] for protocol in protocols} == {"25", "100"}


@pytest.mark.parametrize("most", [None, 4, 5])
def test_all_test_series_are_shown_if_they_are_few(most):
    assert shown_of(["a", "b", "c", "d"], "d", most) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("preview", "most", "shown"),
    [("d", 2, ["b", "d"]), ("d", 1, ["d"]), ("validation", 1, ["c"]), ("validation", 2, ["b", "d"])],
)
def test_of_many_test_series_the_previews_and_some_spread_over_the_sheet_are_shown(preview, most, shown):
    assert shown_of(["a", "b", "c", "d"], preview, most) == shown
