"""The summary against means taken by hand."""

from __future__ import annotations

import logging

import pandas as pd
import pytest

from quietct.errors import UserError
from quietct.evaluation.columns import MEASURES, REASONS, WINDOW_COLUMNS
from quietct.evaluation.summary import summarize_quality
from quietct.methods import split_method

WINDOWS = dict(zip(WINDOW_COLUMNS, (-1350, 150, -1350, 150, -160, 240), strict=True))
METHODS = {"noisy": [20.0, 22.0, 24.0], "tv": [30.0, 31.0, 35.0], "chen2017-dilated-seed12": [33.0, 34.0, 35.0]}


@pytest.fixture
def tables(tmp_path):
    """Write the slice tables of two series (two slices and one), three methods and two noises."""
    paths = []
    for noise, shift in (("weak", 10), ("strong", 0)):
        for method, values in METHODS.items():
            for series, chosen in (("s1", values[:2]), ("s2", values[2:])):
                path = tmp_path / f"{noise}-{method}-{series}.tsv"
                slices = pd.DataFrame({"slice": range(len(chosen)), "z_mm": 0.0, **dict.fromkeys(MEASURES, "")})
                slices = slices.assign(psnr_db=[value + shift for value in chosen], ssim=0.5, rmse_hu=7.0)
                slices = slices.assign(noise=noise, method=method, series=series, psnr_lung_db=20.5, ssim_lung=0.25)
                slices = slices.assign(bias_hu=[1.0, 2.0, 6.0][: len(chosen)], **WINDOWS)
                slices.to_csv(path, sep="\t", index=False)
                paths.append(path)
    return paths


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("noisy", (None, None, None)),
        ("nl_means", (None, None, None)),
        ("chen2017-dilated_gradient_noise-seed12", ("chen2017", "dilated_gradient_noise", 12)),
        ("a-b-seedling", (None, None, None)),
    ],
)
def test_a_method_splits_into_network_variant_and_seed(method, parts):
    assert split_method(method) == parts


def test_means_are_over_all_slices_and_the_best_comes_first(tables, tmp_path):
    summarize_quality(tables, tmp_path / "summary.tsv")
    table = pd.read_csv(tmp_path / "summary.tsv", sep="\t", dtype={"seed": "Int64"})
    assert list(table) == [
        "noise", "method", "network", "variant", "seed", "n_slices", "n_failed", "psnr_db",
        "ssim", "rmse_hu", "bias_hu", "ceiling_psnr_db", "rmse_corrected_hu",
        "psnr_lung_db", "ssim_lung", "psnr_mediastinum_db", "ssim_mediastinum", "vif", "noise_index_hu",
        "rmse_lung_hu", "bias_lung_hu", "rmse_soft_tissue_hu", "bias_soft_tissue_hu",
        "rmse_bone_hu", "bias_bone_hu", "rmse_nodule_hu", "bias_nodule_hu",
        "window_low_hu", "window_high_hu", "lung_window_low_hu", "lung_window_high_hu",
        "mediastinum_window_low_hu", "mediastinum_window_high_hu", "notes",
    ]  # fmt: skip
    assert table["noise"].tolist() == ["strong"] * 3 + ["weak"] * 3
    assert table["method"].tolist() == ["chen2017-dilated-seed12", "tv", "noisy"] * 2
    assert table["psnr_db"].tolist() == [34, 32, 22, 44, 42, 32]
    assert (table["n_slices"] == 3).all()
    # Bias 1 and 2 in the series of two slices, 1 in the other one.
    assert table["bias_hu"].tolist() == pytest.approx([4 / 3] * 6, rel=1e-5)
    assert table.loc[0, ["network", "variant", "seed"]].tolist() == ["chen2017", "dilated", 12]
    assert table.loc[1:2, ["network", "variant", "seed"]].isna().all(axis=None)
    assert table[["ceiling_psnr_db", "rmse_corrected_hu"]].isna().all(axis=None)


def test_the_order_of_the_files_does_not_matter(tables, tmp_path):
    summarize_quality(tables, tmp_path / "one.tsv")
    summarize_quality(tables[::-1], tmp_path / "two.tsv")
    assert (tmp_path / "one.tsv").read_text() == (tmp_path / "two.tsv").read_text()


def test_names_that_look_like_numbers_or_nothing_stay_names(tables, tmp_path):
    slices = pd.read_csv(tables[0], sep="\t").assign(noise="01", method="nan")
    slices.to_csv(tables[0], sep="\t", index=False)
    summarize_quality(tables[:1], tmp_path / "summary.tsv")
    assert (tmp_path / "summary.tsv").read_text().splitlines()[1].startswith("01\tnan\t")


def test_infinite_psnr_survives(tables, tmp_path):
    pd.read_csv(tables[0], sep="\t").assign(psnr_db=float("inf")).to_csv(tables[0], sep="\t", index=False)
    summarize_quality(tables[:1], tmp_path / "summary.tsv")
    rows = pd.read_csv(tmp_path / "summary.tsv", sep="\t")
    assert rows["psnr_db"].tolist() == [float("inf")]
    assert (
        rows["notes"]
        .str.endswith("; a PSNR is infinite: within its window an image equals its target in a slice")
        .all()
    )


def test_a_finite_psnr_has_no_note(tables, tmp_path):
    assert not summary(tables, tmp_path)["notes"].str.contains("infinite").any()


def test_the_log_shows_every_method_and_the_window(tables, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        summarize_quality(tables, tmp_path / "summary.tsv")
    assert "window -1350 to 150 HU" in caplog.text
    for method in METHODS:
        assert caplog.text.count(f"  {method} ") == 2


def test_nothing_to_summarise_is_said(tmp_path):
    with pytest.raises(UserError, match="role test"):
        summarize_quality([], tmp_path / "summary.tsv")


def know_the_targets(paths):
    """Write what is known of the targets' noise into slice tables: ceilings 30 and 32 dB, or 40 in the other series."""
    for path in paths:
        table = pd.read_csv(path, sep="\t", keep_default_na=False)
        ceilings = [30.0, 32.0] if len(table) == 2 else [40.0]
        table.assign(ceiling_psnr_db=ceilings, rmse_corrected_hu=4.0).to_csv(path, sep="\t", index=False)


def test_ceiling_and_corrected_rmse_are_means_over_the_test_slices(tables, tmp_path):
    know_the_targets(tables)
    summarize_quality(tables, tmp_path / "summary.tsv")
    table = pd.read_csv(tmp_path / "summary.tsv", sep="\t")
    assert table["ceiling_psnr_db"].tolist() == [34] * 6
    assert table["rmse_corrected_hu"].tolist() == [4] * 6


def test_one_slice_without_a_ceiling_leaves_the_mean_empty(tables, tmp_path):
    know_the_targets([path for path in tables if path.stem != "weak-tv-s2"])
    summarize_quality(tables, tmp_path / "summary.tsv")
    table = pd.read_csv(tmp_path / "summary.tsv", sep="\t")
    unknown = (table["noise"] == "weak") & (table["method"] == "tv")
    assert (table["ceiling_psnr_db"].isna() == unknown).all()
    assert (table["rmse_corrected_hu"].isna() == unknown).all()
    assert table["psnr_db"].notna().all()


def test_a_ceiling_that_no_method_has_on_a_slice_leaves_them_all_without_a_mean(tables, tmp_path):
    know_the_targets([path for path in tables if not path.stem.endswith("s2")])
    summarize_quality(tables, tmp_path / "summary.tsv")
    table = pd.read_csv(tmp_path / "summary.tsv", sep="\t")
    assert table[["ceiling_psnr_db", "rmse_corrected_hu"]].isna().all(axis=None)


def test_the_log_tells_the_ceiling_once_a_noise_and_the_corrected_rmse_where_known(tables, tmp_path, caplog):
    know_the_targets([path for path in tables if path.stem.startswith("weak")])
    with caplog.at_level(logging.INFO):
        summarize_quality(tables, tmp_path / "summary.tsv")
    strong, weak = caplog.text.split("noise weak")
    assert "to 150 HU; the targets' own noise allows 34.00 dB at most)" in weak
    assert "allows" not in strong
    assert "  corrected  " not in strong
    heading, *rows = weak.splitlines()[2:6]
    assert heading.split()[:8] == ["method", "PSNR", "dB", "SSIM", "RMSE", "HU", "corrected", "bias"]
    assert len(rows) == 3
    assert all(row.split()[3:] == ["7.0", "4.0", "+1.3", "20.50", "0.250", "3"] for row in rows)
    assert {len(row) for row in rows} == {len(heading)}


def change(path, **columns):
    """Overwrite columns of a slice table."""
    pd.read_csv(path, sep="\t", keep_default_na=False).assign(**columns).to_csv(path, sep="\t", index=False)


def summary(tables, tmp_path, noise="weak"):
    """Summarise, and give the rows of a noise by method."""
    summarize_quality(tables, tmp_path / "summary.tsv")
    table = pd.read_csv(tmp_path / "summary.tsv", sep="\t", na_values={"notes": []}, keep_default_na=True)
    return table[table["noise"] == noise].set_index("method")


def test_a_method_that_failed_in_a_slice_has_no_means_and_a_note_and_comes_last(tables, tmp_path, caplog):
    change(tmp_path / "weak-tv-s1.tsv", **{name: ["", 1.0] for name in MEASURES})
    with caplog.at_level(logging.INFO):
        rows = summary(tables, tmp_path)
    assert list(rows.index) == ["chen2017-dilated-seed12", "noisy", "tv"]
    assert rows["n_failed"].tolist() == [0, 0, 1]
    assert (rows["n_slices"] == 3).all()
    assert rows.loc["tv", list(MEASURES)].isna().all()
    assert rows.loc["tv", "notes"].startswith("1 of 3 slices have no value")
    assert rows.loc["noisy", "psnr_db"] == 32
    assert "tv: 1 of 3 slices have no value" in caplog.text
    assert " –  " in next(line for line in caplog.text.partition("noise weak")[2].splitlines() if "  tv " in line)


def test_what_no_method_can_have_in_a_slice_leaves_the_slice_out_for_all(tables, tmp_path):
    for path in tables:
        series = path.stem.rpartition("-")[2]
        change(path, rmse_nodule_hu=[3.0, ""] if series == "s1" else [5.0])
    rows = summary(tables, tmp_path)
    assert rows["rmse_nodule_hu"].tolist() == [4, 4, 4]
    assert not rows["notes"].str.contains("rmse_nodule_hu").any()


def test_what_one_method_lacks_and_another_has_leaves_the_one_without_a_mean(tables, tmp_path):
    for path in tables:
        change(path, noise_index_hu=8.0)
    change(tmp_path / "weak-tv-s1.tsv", noise_index_hu=[8.0, ""])
    rows = summary(tables, tmp_path)
    assert rows["noise_index_hu"].isna().to_dict() == {"chen2017-dilated-seed12": False, "tv": True, "noisy": False}
    assert "no noise_index_hu: a slice lacks what it has with another method" in rows.loc["tv", "notes"]
    assert "noise_index_hu" not in rows.loc["noisy", "notes"]


def test_every_empty_cell_is_explained_and_none_that_is_not(tables, tmp_path):
    for path in tables:
        change(path, bias_bone_hu=1.0)
    for _, row in summary(tables, tmp_path).iterrows():
        for name in MEASURES:
            sentences = [
                note for note in row["notes"].split("; ") if name in note.partition(":")[0].replace(",", "").split()
            ]
            assert [note.partition(": ")[2] for note in sentences] == ([REASONS[name]] if pd.isna(row[name]) else [])
