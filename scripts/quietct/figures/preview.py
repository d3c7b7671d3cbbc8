"""A quick look at a denoised series: before, after and what changed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from quietct.ct.dicom.derived_header import RESEARCH_USE
from quietct.figures.contact_sheet import difference_limit
from quietct.figures.gif import MAX_SCROLL_FRAMES, Panel, write_film
from quietct.figures.style import RC, save_figure, window_label

logger = logging.getLogger(__name__)

PANEL_INCHES, DPI = 4.0, 125
FRAME_MS, FILM_PANEL_PX = 200, 320


class PreviewSlice(NamedTuple):
    """One slice: its number from 1, its height (mm), and HU (rows, columns) before and after."""

    number: int
    z_mm: float
    before: np.ndarray
    after: np.ndarray


def shown_slices(path: Path, count: int) -> list[int]:
    """Choose the slices to show, counted from 0: the middle one in a .png, at most 24 spread evenly in a .gif."""
    if path.suffix.lower() == ".png":
        return [count // 2]
    return np.unique(np.linspace(0, count - 1, min(count, MAX_SCROLL_FRAMES)).round().astype(int)).tolist()


def draw_preview(path: Path, slices: Sequence[PreviewSlice], count: int, window_hu: Sequence[float]) -> None:
    """Show slices before and after, and after − before on a scale of its own.

    Parameters
    ----------
    path : path
        A .png, of the first slice given, or a .gif of all of them.
    slices : sequence of PreviewSlice
        Of equal shapes.
    count : int
        Number of slices of the series.
    window_hu : (low, high)
        Black and white, HU.
    """
    changes = [one.after.astype(np.float32) - one.before for one in slices]
    limit = difference_limit({str(one.number): change for one, change in zip(slices, changes, strict=True)})
    if path.suffix.lower() == ".png":
        with matplotlib.rc_context({**RC, "axes.grid": False}):
            save_figure(_figure(slices[0], changes[0], count, window_hu, limit), path, dpi=DPI)
    else:
        low, high = window_hu
        films = [
            (
                Panel(one.before, "before"),
                Panel(one.after, f"after, {_place(one, count)}"),
                # The difference is brought onto the window's greys: no difference is the grey in the middle.
                Panel(
                    (low + high) / 2 + change * ((high - low) / (2 * limit)),
                    f"after − before: black −{limit:g}, white +{limit:g} HU",
                ),
            )
            for one, change in zip(slices, changes, strict=True)
        ]
        write_film(path, films, f"{window_label(window_hu)}; {RESEARCH_USE}", window_hu, FRAME_MS, FILM_PANEL_PX)
    logger.info("%s shows %d of %d slices.", path, len(slices), count)


def _figure(one: PreviewSlice, change: np.ndarray, count: int, window_hu: Sequence[float], limit: float) -> Figure:
    rows, columns = one.before.shape
    height = PANEL_INCHES * rows / columns
    figure = Figure(figsize=(3 * PANEL_INCHES, height + 1.0))
    share = 1 / figure.get_figheight()  # of the height, for an inch
    figure.suptitle(
        f"{_place(one, count)}, {window_label(window_hu)}; {RESEARCH_USE}", fontsize=11, y=1 - 0.08 * share, va="top"
    )
    grid = figure.add_gridspec(
        1, 3, left=0.004, right=0.996, bottom=0.45 * share, top=1 - 0.55 * share, wspace=0.02
    )  # fmt: skip
    for column, (title, image) in enumerate((("before", one.before), ("after", one.after))):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(image, cmap="gray", vmin=window_hu[0], vmax=window_hu[1], interpolation="antialiased")
        axes.set_title(title)
        axes.set_axis_off()
    axes = figure.add_subplot(grid[0, 2])
    # Averaged before it is coloured: a mean of red and blue would be purple.
    shown = axes.imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation_stage="data")
    axes.set_title("after − before (HU)")
    axes.set_axis_off()
    place = axes.get_position()
    bar = figure.colorbar(
        shown, cax=figure.add_axes((place.x0 + 0.02, 0.3 * share, place.width - 0.04, 0.1 * share)),
        orientation="horizontal",
    )  # fmt: skip
    bar.set_ticks([-limit, -limit / 2, 0, limit / 2, limit])
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure


def _place(one: PreviewSlice, count: int) -> str:
    return f"slice {one.number} of {count}, z {one.z_mm:.1f} mm".replace("z -", "z −")
