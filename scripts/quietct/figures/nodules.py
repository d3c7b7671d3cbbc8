"""Nodules close up by every method, with what is left of their contrast."""

from __future__ import annotations

import logging
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quietct.ct.volume import open_alike, read_info, without_failures
from quietct.evaluation.windows import LUNG_HU
from quietct.figures.physics_curves import GREY, explain, read_measure, wrapped
from quietct.figures.style import RC, method_label, save_figure, variant_label, window_label
from quietct.methods import split_method

logger = logging.getLogger(__name__)

MAX_NODULES = 6
TILE_INCHES, LABEL_INCHES, HEADING_INCHES, LINE_INCHES = 1.15, 1.35, 0.95, 0.13
TITLE_CHARACTERS_PER_INCH = 10
LEAST_WIDTH_MM, WIDTHS = 20.0, 2.2  # of a close-up: so many mm, or so many diameters
Key = tuple[str, float, float, float]


def plot_nodules(
    measures: Sequence[str | Path],
    targets: Sequence[str | Path],
    infos: Sequence[str | Path],
    images: Sequence[str | Path],
    plot: str | Path,
    methods: Sequence[str],
    series: Sequence[str],
    noise: str,
    window_hu: Sequence[float],
    target_label: str = "target",
) -> None:
    """Draw nodules of the test series, a row each: the noisy scan, the target, and every method.

    Parameters
    ----------
    measures : sequence of path
        JSON of `measure_physics`, of the methods and series to draw.
    targets, infos : sequences of path
        Volume of the target (HU) and JSON of each series.
    images : sequence of path
        Volumes of the methods, HU: of the first series by all methods, then of the next.
    plot : path
        The PNG to write. What is missing is said in it.
    methods : sequence of str
        The first is `noisy`.
    series : sequence of str
    noise : str
        For the title.
    window_hu : (low, high)
        Black and white, HU. A nodule that is darker than that is shown in the lung window.
    target_label : str
        What the target is called.

    Raises
    ------
    UserError
        If a file of measures is none, or volumes do not belong together.
    """
    found, gaps = read_measure(measures, "nodules")
    rows = {method: _by_nodule(entries) for method, entries in found.items()}
    chosen = choose(rows.get("noisy", {}))
    n_columns = len(methods) + 1
    with matplotlib.rc_context({**RC, "axes.grid": False}):
        height = TILE_INCHES * 1.22 * max(len(chosen), 1) + HEADING_INCHES
        figure = Figure(figsize=(LABEL_INCHES + TILE_INCHES * n_columns, height))
        lines = wrapped(gaps, figure) if chosen else []
        height += LINE_INCHES * len(lines)
        figure.set_figheight(height)
        title = f"Noise {noise}: nodules close up, with contrast recovery and contrast-to-noise ratio (CNR)"
        figure.suptitle(textwrap.fill(title, int(TITLE_CHARACTERS_PER_INCH * figure.get_figwidth())), fontsize=11)
        if not chosen:
            explain(figure.add_subplot(), gaps)
        grid = figure.add_gridspec(
            max(len(chosen), 1), n_columns, left=LABEL_INCHES / figure.get_figwidth(), right=0.998,
            bottom=(0.2 + LINE_INCHES * len(lines)) / height, top=1 - HEADING_INCHES / height, wspace=0.03, hspace=0.22,
        )  # fmt: skip
        for place, key in enumerate(chosen):
            number = list(series).index(key[0])
            first = number * len(methods)
            target, *others = open_alike(targets[number], *images[first : first + len(methods)])
            facts, nodule = read_info(infos[number]), rows["noisy"][key]
            window = LUNG_HU if nodule["hu"] < window_hu[0] else window_hu
            panels = {methods[0]: others[0], target_label: target, **dict(zip(methods[1:], others[1:], strict=True))}
            for column, (name, volume) in enumerate(panels.items()):
                axes = figure.add_subplot(grid[place, column])
                tile = close_up(volume[nodule["slice"]], nodule, float(facts["spacing_mm"][1]))
                axes.imshow(tile, cmap="gray", vmin=window[0], vmax=window[1], interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(_numbers(name, target_label, rows, key), fontsize=7.5, labelpad=2)
                axes.spines[:].set_visible(False)
                if place == 0:
                    axes.set_title(_heading(name), fontsize=7.5)
                if column == 0:
                    _label(axes, nodule, key[0] if len(series) > 1 else "", window)
        if lines:
            figure.text(0.5, 0.03 / height, "\n".join(lines), ha="center", va="bottom", fontsize=7.5, color=GREY)
        save_figure(figure, plot, dpi=110)
    logger.info("%s: %d nodules", plot, len(chosen))


def choose(nodules: Mapping[Key, Mapping[str, Any]]) -> list[Key]:
    """Choose the nodules to show: from small to large and from weak to strong contrast, spread over all of them."""
    ordered = sorted(nodules, key=lambda key: (nodules[key]["diameter_mm"], abs(nodules[key]["target_contrast_hu"])))
    if len(ordered) <= MAX_NODULES:
        return ordered
    return [ordered[round(k * (len(ordered) - 1) / (MAX_NODULES - 1))] for k in range(MAX_NODULES)]


def close_up(image: np.ndarray, nodule: Mapping[str, Any], pixel_mm: float) -> np.ndarray:
    """Cut the square around a nodule out of a slice; what lies outside of the slice, or has no value, is NaN.

    Parameters
    ----------
    image : ndarray (rows, columns)
        HU.
    nodule : mapping
        `row` and `column` of its centre, pixels; `diameter_mm`.
    pixel_mm : float

    Returns
    -------
    ndarray of float (side, side)
        HU. The nodule's centre is in the pixel in the middle.
    """
    half = math.ceil(max(LEAST_WIDTH_MM, WIDTHS * nodule["diameter_mm"]) / pixel_mm / 2)
    padded = np.pad(without_failures(image), half, constant_values=np.nan)
    row, column = round(nodule["row"]), round(nodule["column"])
    return padded[row : row + 2 * half + 1, column : column + 2 * half + 1]


def _by_nodule(entries: Sequence[Mapping[str, Any]]) -> dict[Key, dict[str, Any]]:
    return {
        (entry["series"], row["row"], row["column"], row["z_mm"]): row for entry in entries for row in entry["rows"]
    }


def _numbers(name: str, target_label: str, rows: Mapping[str, Mapping[Key, Mapping[str, Any]]], key: Key) -> str:
    if name == target_label:
        return ""
    row = rows.get(name, {}).get(key)
    if row is None or row["recovery"] is None:
        return "no value"
    cnr = "no noise" if row["cnr"] is None else f"CNR {row['cnr']:.3g}"
    return f"{row['recovery']:.2f}, {cnr}"


def _heading(name: str) -> str:
    network, variant, _ = split_method(name)
    text = f"{network}\n{variant_label(variant)}" if variant else method_label(name)
    return text.replace(" + ", " +\n").replace(" filter", "\nfilter").replace("wavelet ", "wavelet\n")


def _label(axes: Axes, nodule: Mapping[str, Any], series: str, window_hu: Sequence[float]) -> None:
    text = f"{nodule['diameter_mm']:g} mm, {nodule['hu']:g} HU".replace("-", "−")
    place = f"{series}{', ' if series else ''}slice {nodule['slice']}"
    window = window_label(window_hu).replace("window ", "window\n")
    axes.set_ylabel(f"{text}\n{place}\n{window}", rotation=0, ha="right", va="center", fontsize=8)
