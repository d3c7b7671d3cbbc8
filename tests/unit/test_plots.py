"""The plots: what is drawn is in the data, and what is written can be read."""

from __future__ import annotations

import json
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from quietct.ct.volume import NO_VALUE
from quietct.errors import UserError
from quietct.figures import contact_sheet, plots
from quietct.figures.contact_sheet import Zoom, difference_limit, draw_contact_sheet, plot_contact_sheet
from quietct.figures.plots import plot_cost_curves
from quietct.figures.style import (
    OTHER_COLOURS,
    VARIANT_LOOKS,
    decibels,
    method_colour,
    method_label,
    variant_label,
    variant_styles,
    window_label,
)
from quietct.labels import OTHER_LABELS, VARIANT_LABELS
from quietct.methods import base_variant

WINDOW = (-1000, 1000)


def luminance(colour):
    """Relative luminance of a hex colour (WCAG 2)."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize(
    ("method", "label"),
    [
        ("noisy", "noisy"),
        ("nl_means", "non-local means"),
        ("my_filter", "my filter"),
        ("chen2017-sgd-seed3", "chen2017 · gradient descent (seed 3)"),
        ("chen2017-dilated_gradient_noise-seed1", "chen2017 · dilated + gradient noise (seed 1)"),
        ("seo-gradient_noise_strong-seed1", "seo · gradient noise, strong (seed 1)"),
    ],
)
def test_methods_are_put_into_words(method, label):
    assert method_label(method) == label


def test_the_longest_matching_variant_is_meant():
    assert base_variant("dilated_gradient_noise_weak") == "dilated_gradient_noise"
    assert base_variant("dilated_strong") == "dilated"
    assert base_variant("dilatedly") is None
    assert variant_label("dilatedly") == "dilatedly"


def test_the_four_variants_differ_in_colour_and_in_line():
    styles = variant_styles(list(VARIANT_LOOKS))
    assert len({style.colour for style in styles.values()}) == 4
    assert len({str(style.line) for style in styles.values()}) == 4
    # All of them can be seen on white.
    assert all(luminance(style.colour) < 0.5 for style in styles.values())


def test_a_variant_looks_the_same_alone_and_among_others():
    alone = variant_styles(["dilated"])["dilated"]
    assert alone == variant_styles(list(VARIANT_LOOKS))["dilated"]
    assert method_colour("net-dilated-seed1") == method_colour("other-dilated-seed9") == alone.colour


def test_variants_of_one_kind_share_the_line_and_not_the_colour():
    styles = variant_styles(["gradient_noise", "gradient_noise_weak", "gradient_noise_strong"])
    assert len({str(style.line) for style in styles.values()}) == 1
    assert len({style.colour for style in styles.values()}) == 3
    assert len({style.colour for style in variant_styles(["sgd_fast", "sgd_slow"]).values()}) == 2


def test_every_baseline_has_its_own_colour():
    baselines = set(OTHER_COLOURS) - {"noisy", "clean"}
    assert len({method_colour(name) for name in baselines}) == len(baselines)


def test_everything_that_has_a_colour_has_words():
    assert set(OTHER_COLOURS) == set(OTHER_LABELS)
    assert set(VARIANT_LOOKS) == set(VARIANT_LABELS)


def test_numbers_are_written_plainly():
    assert decibels(27.345) == "27.3 dB"
    assert decibels(float("inf")) == "∞ dB"
    assert decibels(float("nan")) == "no value"
    assert window_label((-1350, 150)) == "window −1350 to 150 HU"


@pytest.fixture
def drawn(monkeypatch):
    """Catch the figure that is saved."""
    figures = []
    save = plots.save_figure

    def save_and_keep(figure: Figure, *rest, **options):
        figures.append(figure)
        save(figure, *rest, **options)

    for module in (plots, contact_sheet):
        monkeypatch.setattr(module, "save_figure", save_and_keep)
    return figures


def write_history(path, loss, psnr_db=None):
    loss = np.asarray(loss, dtype=float)
    psnr = 20 + np.arange(len(loss)) if psnr_db is None else psnr_db
    pd.DataFrame({"epoch": np.arange(len(loss)), "loss": loss, "validation_psnr_db": psnr}).to_csv(
        path, sep="\t", index=False
    )
    return path


def assert_picture(path, max_bytes=3_000_000):
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.std() > 5, "the picture is blank"
    assert path.stat().st_size < max_bytes
    return pixels


def thick_lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if line.get_linewidth() > 1}


def test_cost_curves_show_every_variant_and_the_mean_of_its_seeds(tmp_path, drawn):
    histories, variants, seeds = [], [], []
    for rank, variant in enumerate(VARIANT_LOOKS):
        for seed in (1, 2):
            histories.append(write_history(tmp_path / f"{variant}{seed}.tsv", (1 + rank) * seed * 0.8 ** np.arange(10)))
            variants.append(variant)
            seeds.append(seed)
    plot_cost_curves(histories, variants, seeds, tmp_path / "cost.png", "chen2017", "weak")
    assert_picture(tmp_path / "cost.png")
    cost, psnr = drawn[0].axes
    assert cost.get_yscale() == "log"
    assert "dB" in psnr.get_ylabel()
    lines = thick_lines(cost)
    assert list(lines) == [variant_label(variant) for variant in VARIANT_LOOKS]
    np.testing.assert_allclose(lines["dilated"].get_ydata(), 3 * 1.5 * 0.8 ** np.arange(10))
    assert to_hex(lines["dilated"].get_color()).upper() == VARIANT_LOOKS["dilated"][0]
    assert len(cost.get_lines()) == 4 + 8
    assert "mean of 2 seeds" in drawn[0].get_suptitle()


def test_diverged_and_impossible_values_become_gaps_and_are_counted(tmp_path, drawn):
    histories = [
        write_history(tmp_path / "a.tsv", [3, 2, np.inf, 0, -1], [20, 21, np.nan, -np.inf, 22]),
        write_history(tmp_path / "b.tsv", [3, 2, 1.5, 1.2, 1.1]),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_cost_curves(histories, ["sgd", "dilated"], [1, 1], tmp_path / "cost.png", "n", "weak")
    assert_picture(tmp_path / "cost.png")
    cost, psnr = drawn[0].axes
    np.testing.assert_array_equal(thick_lines(cost)["gradient descent"].get_ydata(), [3, 2, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(thick_lines(psnr)["gradient descent"].get_ydata(), [20, 21, np.nan, np.nan, 22])
    assert [text.get_text()[:2] for text in cost.texts + psnr.texts] == ["3 ", "2 "]


def test_curves_that_hardly_move_or_do_not_exist_are_drawn(tmp_path, drawn):
    flat = write_history(tmp_path / "flat.tsv", 3.1e8 * (1 - 1e-9 * np.arange(100)), np.full(100, 10.2))
    nothing = write_history(tmp_path / "nan.tsv", [np.nan, np.inf], [np.nan, np.nan])
    single = write_history(tmp_path / "one.tsv", [2.0])
    for name, path in (("flat", flat), ("nothing", nothing), ("single", single)):
        plot_cost_curves([path], ["sgd"], [1], tmp_path / f"{name}.png", "n", "weak")
        assert_picture(tmp_path / f"{name}.png")
    low, high = drawn[0].axes[0].get_ylim()
    assert 1.02 < high / low < 2
    assert drawn[1].axes[0].texts[0].get_text() == "no finite values"


def test_a_single_epoch_is_a_dot_at_a_whole_number(tmp_path, drawn):
    history = write_history(tmp_path / "one.tsv", [np.nan, 2.0])
    plot_cost_curves([history], ["sgd"], [1], tmp_path / "one.png", "n", "weak")
    cost = drawn[0].axes[0]
    assert thick_lines(cost)["gradient descent"].get_marker() == "o"
    assert all(tick == round(tick) for tick in cost.get_xticks())


@pytest.mark.parametrize("content", ["epoch\tloss\n1\t2\n", "epoch\tloss\tvalidation_psnr_db\n"])
def test_a_history_without_rows_or_columns_is_refused(tmp_path, content):
    (tmp_path / "h.tsv").write_text(content)
    with pytest.raises(UserError, match=r"h\.tsv"):
        plot_cost_curves([tmp_path / "h.tsv"], ["sgd"], [1], tmp_path / "cost.png", "n", "weak")


@pytest.fixture
def sheet(tmp_path):
    """Write a clean and a noisy series and eleven denoised ones, each off by a known number of HU."""
    rng = np.random.default_rng(0)
    clean = np.zeros((3, 64, 64), np.int16)
    clean[:, 16:48, 16:48] = 400
    np.save(tmp_path / "clean.npy", clean)
    np.save(tmp_path / "noisy.npy", clean + rng.normal(0, 300, clean.shape).astype(np.int16))
    (tmp_path / "info.json").write_text(json.dumps({"z_mm": [-3, -1.5, 0]}))
    methods = [*(set(OTHER_COLOURS) - {"noisy", "clean"}), *(f"net-{variant}-seed1" for variant in VARIANT_LOOKS)]
    for offset, method in enumerate(sorted(methods)):
        np.save(tmp_path / f"{method}.npy", clean + np.int16(offset))
    return tmp_path, sorted(methods)


def draw_sheet(folder, methods, **changes):
    rules = {"noise": "weak", "series": "a.1", "window_hu": WINDOW, "slice_index": None, "zoom": Zoom(10, 12, 20)}
    paths = [folder / name for name in ("clean.npy", "info.json", "noisy.npy")]
    images = [folder / f"{method}.npy" for method in methods]
    plot_contact_sheet(*paths, images, folder / "sheet.png", methods, **{**rules, **changes})
    return folder / "sheet.png"


def test_a_contact_sheet_has_three_panels_a_method(sheet, drawn):
    folder, methods = sheet
    assert_picture(draw_sheet(folder, methods))
    panels = [axes for axes in drawn[0].axes if axes.images]
    # Noisy and all methods with a difference each, clean without.
    assert len(panels) == 3 * (1 + len(methods)) + 2
    titles = [axes.get_title() for axes in panels if axes.get_title()]
    assert len(titles) == len(methods) + 2
    assert titles[0].startswith("noisy\n")
    assert titles[-1] == "clean"
    assert drawn[0].get_suptitle() == "a.1, slice 1 (z −1.5 mm), noise weak, window −1000 to 1000 HU"


def test_titles_say_psnr_and_ssim_of_their_panel(sheet, drawn):
    folder, methods = sheet
    draw_sheet(folder, methods)
    titles = {axes.get_title() for axes in drawn[0].axes}
    expected = 20 * np.log10(2000 / methods.index("tv"))
    assert any(title.startswith(f"total variation\n{expected:.2f} dB, SSIM 1.000") for title in titles)
    assert any(title.startswith("net (seed 1)\ndilated\n") for title in titles)


def test_a_method_that_failed_says_so_and_does_not_set_the_range_of_differences(sheet):
    folder, _ = sheet
    clean, noisy = (np.load(folder / f"{name}.npy")[1] for name in ("clean", "noisy"))
    cells = {"noisy": noisy, "median": np.full_like(clean, NO_VALUE), "tv": clean + np.int16(3)}
    figure = draw_contact_sheet(cells, clean, "t", WINDOW, Zoom(10, 12, 20))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[1] == "median filter\nno value: the method failed"
    blank = [axes.images[0].get_array() for axes in figure.axes[3:6]]
    assert all(np.ma.getmaskarray(np.ma.masked_invalid(panel)).all() for panel in blank)
    assert figure.axes[5].images[0].get_clim() == (-5, 5)


def test_zoom_and_difference_show_the_right_pixels(sheet):
    folder, _ = sheet
    clean, noisy = (np.load(folder / f"{name}.npy")[1] for name in ("clean", "noisy"))
    figure = draw_contact_sheet({"noisy": noisy}, clean, "t", WINDOW, Zoom(10, 12, 20))
    whole, enlarged, change = figure.axes[:3]
    np.testing.assert_array_equal(whole.images[0].get_array(), noisy)
    np.testing.assert_array_equal(enlarged.images[0].get_array(), noisy[10:30, 12:32])
    np.testing.assert_array_equal(change.images[0].get_array(), noisy - clean)
    assert whole.images[0].get_clim() == WINDOW
    low, high = change.images[0].get_clim()
    assert low == -high < 0
    (mark,) = whole.patches
    assert (mark.get_x(), mark.get_y(), mark.get_width()) == (11.5, 9.5, 20)


def test_all_differences_share_one_range_that_noise_does_not_set():
    values = {"noisy": 900, "tv": -31, "median": 3, "wavelet": 700}
    assert difference_limit({method: np.full((9, 9), value) for method, value in values.items()}) == 40
    assert difference_limit({"noisy": np.full((9, 9), 900.0)}) == 900
    assert difference_limit({"tv": np.zeros((9, 9))}) == 5


def test_a_zoom_beyond_the_slice_is_moved_into_it():
    assert Zoom(200, 150, 96).inside((512, 512)) == Zoom(200, 150, 96)
    assert Zoom(200, 150, 96).inside((256, 240)) == Zoom(160, 144, 96)
    assert Zoom(200, 150, 96).inside((64, 80)) == Zoom(0, 16, 64)


def test_a_slice_that_does_not_exist_is_refused(sheet):
    with pytest.raises(UserError, match="slices 0 to 2"):
        draw_sheet(*sheet, slice_index=3)


def test_a_target_that_is_not_clean_is_called_what_it_is_and_differences_are_to_it(sheet, drawn):
    folder, methods = sheet
    target = np.load(folder / "clean.npy") + np.random.default_rng(1).normal(0, 20, (3, 64, 64)).astype(np.int16)
    np.save(folder / "clean.npy", target)
    assert_picture(draw_sheet(folder, methods, target_label="target"))
    panels = [axes for axes in drawn[0].axes if axes.images]
    titles = [axes.get_title() for axes in panels if axes.get_title()]
    assert titles[-1] == "target"
    assert "clean" not in titles
    assert any(text.get_text() == "bottom row: image − target, HU" for axes in drawn[0].axes for text in axes.texts)
    np.testing.assert_array_equal(panels[2].images[0].get_array(), np.load(folder / "noisy.npy")[1] - target[1])


def test_with_a_split_the_sheet_shows_a_held_out_slice(sheet, drawn):
    folder, methods = sheet
    draw_sheet(folder, methods, split={"every": 3, "offset_mm": -3})
    assert drawn[0].get_suptitle().startswith("a.1, slice 0 (z −3.0 mm)")
    with pytest.raises(UserError, match=r"holds out: 0\.$"):
        draw_sheet(folder, methods, split={"every": 3, "offset_mm": -3}, slice_index=2)


def test_drawing_leaves_matplotlib_as_it_was(sheet, tmp_path):
    # The first look at the backend chooses one.
    assert matplotlib.rcParams["backend"]
    before = matplotlib.rcParams.copy()
    draw_sheet(*sheet)
    plot_cost_curves([write_history(tmp_path / "h.tsv", [2, 1])], ["sgd"], [1], tmp_path / "c.png", "n", "weak")
    assert matplotlib.rcParams == before
