"""The pictures of the physics measures: curves and close-ups are those of the data, and gaps are explained."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image
from skimage.color import rgb2lab

from quietct.ct.volume import NO_VALUE
from quietct.errors import UserError
from quietct.figures import nodules, noise_power, task_transfer
from quietct.figures.nodules import choose, close_up, plot_nodules
from quietct.figures.noise_power import plot_noise_power
from quietct.figures.style import MARKERS, VARIANT_LOOKS, method_colour, method_look
from quietct.figures.task_transfer import plot_task_transfer

METHODS = ["noisy", "tv", "net-sgd-seed1"]
WINDOW = (-160, 240)


@pytest.fixture
def drawn(monkeypatch):
    """Catch the figures that are saved."""
    figures: list[Figure] = []
    for module in (nodules, noise_power, task_transfer):
        save = module.save_figure

        def save_and_keep(figure, *rest, save=save, **options):
            figures.append(figure)
            save(figure, *rest, **options)

        monkeypatch.setattr(module, "save_figure", save_and_keep)
    return figures


def physics(method, **changes):
    """Measures of a method: each has a power and a contrast of its own."""
    strength = METHODS.index(method) + 1
    frequency = np.linspace(0, 0.7, 8)
    row = {"row": 20.3, "column": 30.0, "z_mm": 1.0, "diameter_mm": 4.0, "hu": -10.0, "slice": 1, "recovery": 0.5}
    return {
        "noise": "weak",
        "method": method,
        "series": "a",
        "noise_power": {
            "frequency_per_mm": frequency.tolist(),
            "power_hu2_mm2": (strength * 100 * np.exp(-frequency)).tolist(),
            "peak_per_mm": 0.1, "mean_per_mm": 0.25, "sd_hu": 12.0 * strength, "n_regions": 9,
        },
        "task_transfer": {
            "frequency_per_mm": frequency.tolist(),
            "ttf": np.exp(-strength * frequency).tolist(),
            "ttf50_per_mm": float(np.log(2) / strength), "n_nodules": 2, "cnr": 3.0,
            "target": {"ttf": np.ones(8).tolist(), "ttf50_per_mm": None},
        },
        "nodules": {"rows": [row | {"contrast_hu": 400.0, "target_contrast_hu": 800.0, "cnr": 5.0 * strength}]},
    } | changes  # fmt: skip


def write(folder, records):
    paths = []
    for number, record in enumerate(records):
        paths.append(folder / f"{number}.json")
        paths[-1].write_text(json.dumps(record))
    return paths


def missing(measure):
    return {measure: {"missing": "There is no nodule."}}


def texts(figure):
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [*legends, *(text.get_text() for axes in figure.axes for text in axes.texts)]


def assert_picture(path):
    with Image.open(path) as picture:
        assert np.asarray(picture.convert("L")).std() > 3


def test_noise_power_is_drawn_as_it_was_measured_and_with_equal_areas(tmp_path, drawn):
    plot_noise_power(write(tmp_path, map(physics, METHODS)), tmp_path / "p.png", "weak")
    assert_picture(tmp_path / "p.png")
    power, shape = drawn[0].axes
    for number, line in enumerate(power.lines, start=1):
        np.testing.assert_allclose(line.get_ydata(), number * 100 * np.exp(-line.get_xdata()))
    assert [to_hex(line.get_color()) for line in power.lines] == [method_colour(name).lower() for name in METHODS]
    assert power.get_yscale() == "log"
    for line in shape.lines:
        assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(1)
    assert "total variation: 24 HU, 0.25/mm" in texts(drawn[0])
    assert all("mm" in axes.get_xlabel() + axes.get_ylabel() for axes in drawn[0].axes)


def test_an_image_without_noise_is_named_and_not_drawn(tmp_path, drawn):
    quiet = physics("tv")
    quiet["noise_power"] |= {"power_hu2_mm2": [0.0] * 8, "peak_per_mm": None, "mean_per_mm": None, "sd_hu": 0.0}
    plot_noise_power(write(tmp_path, [quiet]), tmp_path / "p.png", "weak")
    assert "total variation: 0 HU, no noise" in texts(drawn[0])
    assert not drawn[0].axes[1].lines


def test_transfer_is_drawn_beside_the_targets_with_a_dot_at_a_half(tmp_path, drawn):
    plot_task_transfer(write(tmp_path, map(physics, METHODS)), tmp_path / "t.png", "weak")
    assert_picture(tmp_path / "t.png")
    dots = [line.get_xdata()[0] for line in drawn[0].axes[0].lines if list(line.get_ydata()) == [0.5]]
    np.testing.assert_allclose(dots, np.log(2) / np.array([1, 2, 3]))
    assert "total variation: 0.35/mm" in texts(drawn[0])
    assert "target: not reached" in texts(drawn[0])
    assert "2 nodules" in drawn[0].get_suptitle()


@pytest.mark.parametrize(
    ("plot", "measure"), [(plot_noise_power, "noise_power"), (plot_task_transfer, "task_transfer")]
)
def test_what_is_missing_is_said_in_the_picture(tmp_path, drawn, plot, measure):
    records = [physics("noisy"), physics("tv", **missing(measure))]
    plot(write(tmp_path, records), tmp_path / "some.png", "weak")
    plot(write(tmp_path, records[1:]), tmp_path / "none.png", "weak")
    assert "total variation; a: There is no nodule." in drawn[0].legends[0].get_title().get_text()
    assert texts(drawn[1]) == ["a: There is no nodule."]
    assert_picture(tmp_path / "none.png")


def test_a_file_without_measures_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UserError, match=r"x\.json"):
        plot_noise_power([tmp_path / "x.json"], tmp_path / "p.png", "weak")


@pytest.fixture
def volumes(tmp_path):
    """Write a target and three images of a series, each of its own grey, with a bright pixel in the nodule's middle."""
    for number, name in enumerate(["target", *METHODS]):
        volume = np.full((3, 48, 64), 10 * number, np.int16)
        volume[1, 20, 30] = 200
        np.save(tmp_path / f"{name}.npy", volume)
    (tmp_path / "info.json").write_text(json.dumps({"spacing_mm": [1.0, 1.0]}))
    return tmp_path


def draw_nodules(folder, records):
    images = [folder / f"{name}.npy" for name in METHODS]
    plot_nodules(
        write(folder, records), [folder / "target.npy"], [folder / "info.json"], images, folder / "n.png",
        METHODS, ["a"], "weak", WINDOW,
    )  # fmt: skip
    assert_picture(folder / "n.png")


def test_nodules_show_noisy_target_and_methods_around_the_nodule(volumes, drawn):
    draw_nodules(volumes, map(physics, METHODS))
    panels = drawn[0].axes
    assert [axes.get_title() for axes in panels] == ["noisy", "target", "total variation", "net\ngradient descent"]
    for axes, grey in zip(panels, (10, 0, 20, 30), strict=True):
        tile = axes.images[0].get_array()
        assert tile.shape == (21, 21)
        assert tile[10, 10] == 200
        assert tile[0, 0] == grey
        assert axes.images[0].get_clim() == WINDOW
    assert [axes.get_xlabel() for axes in panels] == ["0.50, CNR 5", "", "0.50, CNR 10", "0.50, CNR 15"]
    assert panels[0].get_ylabel().startswith("4 mm, −10 HU\nslice 1")


def test_the_title_over_few_nodules_stays_within_the_picture(volumes, drawn):
    draw_nodules(volumes, map(physics, METHODS))
    left, _, right, top = extent(drawn[0].texts[0], drawn[0])
    assert left >= 0
    assert right <= 1
    assert top <= 1
    assert extent(drawn[0].texts[0], drawn[0])[1] > max(extent(axes.title, drawn[0])[3] for axes in drawn[0].axes)


def test_a_nodule_as_dark_as_lung_is_shown_in_the_lung_window(volumes, drawn):
    records = [physics(name) for name in METHODS]
    for record in records:
        record["nodules"]["rows"][0]["hu"] = -800.0
    draw_nodules(volumes, records)
    assert drawn[0].axes[0].images[0].get_clim() == (-1350, 150)
    assert "−1350 to 150 HU" in drawn[0].axes[0].get_ylabel()


def test_a_method_without_nodules_has_no_value_and_without_any_the_picture_says_so(volumes, drawn):
    draw_nodules(volumes, [physics("noisy"), physics("tv", **missing("nodules")), physics("net-sgd-seed1")])
    assert drawn[0].axes[2].get_xlabel() == "no value"
    assert "total variation; a: There is no nodule." in [text.get_text() for text in drawn[0].texts]
    draw_nodules(volumes, [physics(name, **missing("nodules")) for name in METHODS])
    assert texts(drawn[1]) == ["a: There is no nodule."]


def extent(artist, figure):
    """Where something is drawn, in shares of the figure's width and height: left, bottom, right, top."""
    return artist.get_window_extent().transformed(figure.transFigure.inverted()).extents


LONG = "The edges of all nodules together have a CNR of 1.9, but 15 are needed, " * 2


@pytest.mark.parametrize(
    ("plot", "measure"), [(plot_noise_power, "noise_power"), (plot_task_transfer, "task_transfer")]
)
def test_a_long_reason_stays_within_the_picture(tmp_path, drawn, plot, measure):
    plot(write(tmp_path, [physics("noisy"), physics("tv", **{measure: {"missing": LONG}})]), tmp_path / "p.png", "weak")
    left, bottom, right, top = extent(drawn[0].legends[0], drawn[0])
    assert min(left, bottom) >= 0
    assert right <= 1
    assert top < extent(drawn[0].axes[0], drawn[0])[1]


def test_reasons_below_nodules_cover_no_numbers(volumes, drawn):
    others = [physics(name, nodules={"missing": f"{name}: {LONG}"}) for name in METHODS[1:]]
    draw_nodules(volumes, [physics("noisy"), *others])
    (note,) = [text for text in drawn[0].texts if "CNR of 1.9" in text.get_text()]
    left, bottom, right, top = extent(note, drawn[0])
    assert min(left, bottom) >= 0
    assert right <= 1
    assert top <= min(extent(axes.xaxis.label, drawn[0])[1] for axes in drawn[0].axes)


def test_few_nodules_of_many_are_shown_from_small_to_large():
    table = {
        ("a", k, 0.0, 0.0): {"diameter_mm": float(k % 10), "target_contrast_hu": -100.0 * (k // 10)} for k in range(20)
    }
    chosen = choose(table)
    assert len(chosen) == 6
    assert [table[key]["diameter_mm"] for key in chosen] == sorted(table[key]["diameter_mm"] for key in chosen)
    assert (chosen[0][1], chosen[-1][1]) == (0, 19)
    assert len(choose(dict(list(table.items())[:4]))) == 4


def test_a_close_up_at_the_border_is_empty_outside():
    tile = close_up(np.ones((40, 40)), {"row": 2.0, "column": 39.0, "diameter_mm": 2.0}, 1.0)
    assert tile.shape == (21, 21)
    assert np.isnan(tile[:8]).all()
    assert np.isnan(tile[:, 11:]).all()
    assert (tile[8:, :11] == 1).all()


def test_a_close_up_of_what_failed_is_empty():
    image = np.zeros((40, 40), np.int16)
    image[20, 20] = NO_VALUE
    tile = close_up(image, {"row": 20.0, "column": 20.0, "diameter_mm": 2.0}, 1.0)
    assert np.isnan(tile).sum() == 1
    assert np.isnan(tile[10, 10])


def test_curves_of_all_methods_differ_without_their_colours():
    names = ["noisy", "clean", *MARKERS, *(f"net-{variant}-seed1" for variant in VARIANT_LOOKS)]
    looks = [{key: str(value) for key, value in method_look(name).items() if key != "color"} for name in names]
    assert all(looks.count(look) == 1 for look in looks)


def as_a_deuteranope_sees(colour):
    """Simulate missing green cones (Machado et al., IEEE Trans. Vis. Comput. Graph. 15(6), 2009), as CIELAB."""
    matrix = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))


def test_colour_blind_readers_tell_the_variants_apart():
    colours = [as_a_deuteranope_sees(method_colour(f"net-{variant}-seed1")) for variant in VARIANT_LOOKS]
    distances = [np.linalg.norm(one - other) for one, other in itertools.combinations(colours, 2)]
    assert min(distances) > 12  # CIE 1976; 2.3 is just noticeable
