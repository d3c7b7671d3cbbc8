"""The summary against means taken by hand."""

from __future__ import annotations

import logging

import pandas as pd
import pytest

from quietct.errors import UserError
from quietct.evaluation.summary import summarize_quality
from quietct.methods import split_method

METHODS = {"noisy": [20.0, 22.0, 24.0], "tv": [30.0, 31.0, 35.0], "chen2017-dilated-seed12": [33.0, 34.0, 35.0]}


@pytest.fixture
def tables(tmp_path):
    """Write the slice tables of two series (two slices and one), three methods and two noises."""
    paths = []
    for noise, shift in (("weak", 10), ("strong", 0)):
        for method, values in METHODS.items():
            for series, chosen in (("s1", values[:2]), ("s2", values[2:])):
                path = tmp_path / f"{noise}-{method}-{series}.tsv"
                slices = pd.DataFrame({"slice": range(len(chosen)), "psnr_db": [value + shift for value in chosen]})
                slices = slices.assign(noise=noise, method=method, series=series, z_mm=0.0, ssim=0.5, rmse_hu=7.0)
                slices = slices.assign(bias_hu=[1.0, 2.0, 6.0][: len(chosen)], window_low_hu=-1350, window_high_hu=150)
                slices = slices.assign(ceiling_psnr_db="", rmse_corrected_hu="")
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
        "noise", "method", "network", "variant", "seed", "n_slices", "psnr_db",
        "ssim", "rmse_hu", "bias_hu", "ceiling_psnr_db", "rmse_corrected_hu", "window_low_hu", "window_high_hu",
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
    assert pd.read_csv(tmp_path / "summary.tsv", sep="\t")["psnr_db"].tolist() == [float("inf")]


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


def test_the_log_tells_the_ceiling_once_a_noise_and_the_corrected_rmse_where_known(tables, tmp_path, caplog):
    know_the_targets([path for path in tables if path.stem.startswith("weak")])
    with caplog.at_level(logging.INFO):
        summarize_quality(tables, tmp_path / "summary.tsv")
    strong, weak = caplog.text.split("noise weak")
    assert "to 150 HU; the targets' own noise allows 34.00 dB at most)" in weak
    assert "allows" not in strong
    assert "corrected" not in strong
    heading, *rows = weak.splitlines()[1:5]
    assert len(rows) == 3
    assert all(row.split()[-3:] == ["4.0", "+1.3", "3"] for row in rows)
    assert {len(row) for row in rows} == {len(heading)}
