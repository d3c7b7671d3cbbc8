"""The plots of a comparison: what is drawn is in the tables, and what is missing is said."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from slice_tables import slice_table, trainings

from quietct.evaluation.comparison import compare
from quietct.evaluation.slices import Slices
from quietct.figures import differences, slice_quality
from quietct.figures.differences import plot_differences
from quietct.figures.slice_quality import plot_slice_quality

MEASURES = ("psnr_db", "ssim", "rmse_hu")
FILTERS = {"noisy": np.full(12, 28.0), "tv": 33 + 0.1 * np.arange(12)}


@pytest.fixture
def drawn(monkeypatch):
    """Catch the figure that is saved."""
    figures = []
    save = differences.save_figure

    def save_and_keep(figure, *rest, **options):
        figures.append(figure)
        save(figure, *rest, **options)

    for module in (differences, slice_quality):
        monkeypatch.setattr(module, "save_figure", save_and_keep)
    return figures


def draw_slices(folder, values, **rules):
    paths = []
    for method, rows in slice_table(values, measures=MEASURES, **rules).groupby("method", sort=False):
        paths.append(folder / f"{method}.tsv")
        rows.to_csv(paths[-1], sep="\t", index=False)
    plot_slice_quality(paths, folder / "slices.png", "weak")
    return folder / "slices.png"


def draw_differences(folder, values, variants=("sgd", "gradient_noise", "dilated")):
    table = compare(Slices(slice_table(values, measures=MEASURES)))
    table.to_csv(folder / "comparison.tsv", sep="\t", index=False)
    plot_differences(folder / "comparison.tsv", folder / "differences.png", "weak", list(variants))
    return table[(table["measure"] == "psnr_db") & table["second"].isin(variants)]


def test_every_slice_is_a_dot_and_the_best_mean_is_at_the_top(tmp_path, drawn):
    values = {**FILTERS, **trainings({"sgd": 35, "dilated": 36}, n_seeds=2)}
    picture = draw_slices(tmp_path, values)
    panels = drawn[0].axes
    assert [axes.get_xlabel() for axes in panels] == [
        "PSNR (dB), higher is better", "SSIM, higher is better", "RMSE (HU), lower is better",
    ]  # fmt: skip
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [
        "net · dilated (2 seeds)", "net · gradient descent (2 seeds)", "total variation", "noisy",
    ]  # fmt: skip
    dots = [np.asarray(rows.get_offsets())[:, 0] for rows in panels[0].collections]
    assert sorted(dots[0]) == pytest.approx(sorted(np.concatenate([values[f"net-dilated-seed{k}"] for k in (1, 2)])))
    medians = [line.get_xdata()[0] for line in panels[0].get_lines()]
    assert medians == pytest.approx([np.median(row) for row in dots])
    assert [text.get_text() for text in panels[0].texts] == [f"{median:.1f}" for median in medians]
    with Image.open(picture) as image:
        assert np.asarray(image.convert("L")).std() > 5


def test_one_slice_is_no_plural(tmp_path, drawn):
    draw_slices(tmp_path, {"noisy": [28.0]})
    assert "weak: 1 slice of s0;" in drawn[0].get_suptitle()


def test_a_row_runs_from_the_first_slice_to_the_last(tmp_path, drawn):
    draw_slices(tmp_path, {"tv": 33 + np.arange(12.0)}, n_series=1)
    places = drawn[0].axes[0].collections[0].get_offsets()
    assert (np.diff(places[:, 0]) > 0).all()
    assert (np.diff(places[:, 1]) > 0).all()  # the axis points down
    low, high = drawn[0].axes[0].get_ylim()
    assert low > high


def test_failed_and_equal_slices_are_counted_and_not_drawn(tmp_path, drawn):
    values = {"tv": 33 + np.arange(12.0), "median": np.full(12, np.nan), "gaussian": np.full(12, 30.0)}
    values["tv"][:2], values["tv"][5] = np.nan, np.inf
    draw_slices(tmp_path, values)
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "total variation\n2 of 12 failed\n1 of 12 equal to the target",
        "Gaussian filter",
        "median filter\n12 of 12 failed",
    ]
    assert [len(row.get_offsets()) for row in axes.collections] == [9, 12, 0]


def test_many_methods_and_two_hundred_slices_stay_small_and_apart(tmp_path, drawn):
    means = {
        "sgd": 35,
        "gradient_noise": 35,
        "gradient_noise_absolute": 34,
        "dilated": 35,
        "dilated_gradient_noise": 36,
    }
    draw_slices(tmp_path, trainings(means, n_slices=200))
    assert (tmp_path / "slices.png").stat().st_size < 1_000_000
    axes = drawn[0].axes[0]
    heights = [row.get_offsets()[:, 1] for row in axes.collections]
    assert all(one.max() < two.min() for one, two in pairwise(heights))
    colours = {tuple(row.get_facecolor()[0][:3]) for row in axes.collections}
    assert len(colours) == len(means)


def test_every_pair_has_its_difference_interval_and_verdict(tmp_path, drawn):
    rows = draw_differences(tmp_path, {**FILTERS, **trainings({"sgd": 35, "gradient_noise": 35.01, "dilated": 34.5})})
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "gradient descent − gradient noise", "gradient descent − dilated", "gradient noise − dilated",
    ]  # fmt: skip
    intervals = [
        line.get_xdata() for line in axes.get_lines() if len(line.get_xdata()) == 2 and line.get_color() != "black"
    ]
    np.testing.assert_allclose(intervals, rows[["low", "high"]])
    dots = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    np.testing.assert_allclose([dot.get_xdata()[0] for dot in dots], rows["difference"])
    assert rows["verdict"].tolist() == ["no difference shown", "better", "better"]
    assert [dot.get_markerfacecolor() for dot in dots] == ["white", "#0072B2", "#0072B2"]
    assert axes.get_xlabel() == "Difference in PSNR (dB)\nfirst better →"
    assert drawn[0].axes[2].get_xlabel() == "Difference in RMSE (HU)\n← first better"
    assert "5 seeds, 12 slices" in drawn[0].get_suptitle()


def test_one_seed_is_drawn_as_not_testable(tmp_path, drawn):
    draw_differences(tmp_path, trainings({"sgd": 35, "dilated": 34}, n_seeds=1))
    dots = [line for line in drawn[0].axes[0].get_lines() if len(line.get_xdata()) == 1]
    assert [dot.get_marker() for dot in dots] == ["x"]
    assert "of these trainings alone" in drawn[0].get_suptitle()


def test_a_pair_without_a_value_and_a_single_variant_are_explained(tmp_path, drawn):
    values = trainings({"sgd": 35, "dilated": 34})
    for seed in range(1, 6):
        values[f"net-dilated-seed{seed}"][:] = np.nan
    draw_differences(tmp_path, values)
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["no value"]
    draw_differences(tmp_path, {**FILTERS, **trainings({"sgd": 35})})
    assert "one kind of back-propagation: no pair to compare" in [text.get_text() for text in drawn[1].texts]
