"""The sheets in the folder config."""

import pytest

from quietct.experiment.settings import load_yaml
from quietct.experiment.sheet import check_split, dataset_of, preview_of, read_sheet
from quietct.experiment.targets import check_targets

SHEETS = (
    "demo",
    "comparison",
    "article",
    "chen2017",
    "real_slices",
    "phantom_fda_article",
    "noise2noise",
    "phantom_fda",
    "phantom_fda_all",
)
OWN_CONFIG = {
    name: name for name in ("noise2noise", "phantom_fda", "phantom_fda_all")
}  # all others fit where noise is added


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
