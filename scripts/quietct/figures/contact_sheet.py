"""All methods on one slice: whole, enlarged, and what differs from the target."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from quietct.ct.split import Split, read_slices, test_slices
from quietct.ct.volume import is_failed, open_alike, preview_index, read_info, without_failures
from quietct.evaluation.metrics import ssim
from quietct.evaluation.psnr import psnr_db
from quietct.figures.style import RC, decibels, method_label, save_figure, variant_label, variant_styles, window_label
from quietct.methods import split_method

logger = logging.getLogger(__name__)

MAX_COLUMNS = 6
PANEL_INCHES = 2.0
LINE_INCHES = 0.145
HEADING_INCHES = 0.35
DPI = 125
ZOOM_COLOUR = "#E69F00"


class Zoom(NamedTuple):
    """A square of a slice: its upper left pixel and its side, pixels."""

    row: int
    column: int
    size: int

    def inside(self, shape: tuple[int, int]) -> Zoom:
        """Shrink and move the square so that it lies within a slice of `shape` (rows, columns)."""
        size = min(self.size, *shape)
        return Zoom(min(self.row, shape[0] - size), min(self.column, shape[1] - size), size)


def plot_contact_sheet(
    clean: str | Path,
    info: str | Path,
    noisy: str | Path,
    images: Sequence[str | Path],
    plot: str | Path,
    methods: Sequence[str],
    noise: str,
    series: str,
    window_hu: Sequence[float],
    slice_index: int | None,
    zoom: Zoom,
    split: Split | None = None,
    target_label: str = "clean",
) -> None:
    """Draw one cell a method: the slice with its PSNR and SSIM, an enlarged square, and the difference to the target.

    Parameters
    ----------
    clean, noisy : path
        Volumes of the series, HU; the first is the target, clean or another scan.
    info : path
        JSON of the series, for the slice position `z_mm`.
    images : sequence of paths
        Denoised volumes.
    plot : path
        The PNG to write.
    methods : sequence of str
        Method of each image.
    noise, series : str
        For the title.
    window_hu : (low, high)
        Black and white, and the window of PSNR and SSIM, HU.
    slice_index : int or None
        Slice to show, from 0; None for the middle one.
    zoom : Zoom
        The square to enlarge; moved where it does not fit.
    split : mapping or None
        The config's `split`; with it a held-out slice is shown.
    target_label : str
        What the target is called: "clean", or "target" if it is another scan.

    Raises
    ------
    UserError
        If there is no such slice, the split does not hold it out, or a volume's shape differs from the target's.
    """
    volume, *others = open_alike(clean, noisy, *images)
    held_out = read_slices(test_slices, info, split, len(volume))
    index = preview_index(volume, slice_index, clean, held_out)
    reference = volume[index]
    cells = {method: other[index] for method, other in zip(["noisy", *methods], others, strict=True)}
    z_mm = read_info(info)["z_mm"][index]
    title = f"{series}, slice {index} (z {z_mm:.1f} mm), noise {noise}, {window_label(window_hu)}".replace("z -", "z −")
    with matplotlib.rc_context({**RC, "axes.grid": False}):
        figure = draw_contact_sheet(cells, reference, title, window_hu, zoom.inside(reference.shape), target_label)
        save_figure(figure, plot, dpi=DPI)
    logger.info("%s: %d methods on slice %d of %s", plot, len(cells), index, series)


def draw_contact_sheet(
    cells: dict[str, np.ndarray],
    clean: np.ndarray,
    title: str,
    window_hu: Sequence[float],
    zoom: Zoom,
    target_label: str = "clean",
) -> Figure:
    """Arrange the cells in as many bands of three rows as needed; the target comes last.

    Parameters
    ----------
    cells : dict of method to ndarray (rows, columns)
        HU.
    clean : ndarray (rows, columns)
        The target, HU.
    title : str
        Heading of the sheet.
    window_hu : (low, high)
        Black and white, HU.
    zoom : Zoom
        Within the slice.
    target_label : str
        What the target is called.

    Returns
    -------
    Figure
    """
    n_cells = len(cells) + 1
    n_bands = -(-n_cells // MAX_COLUMNS)
    n_columns = -(-n_cells // n_bands)
    differences = {method: without_failures(image) - clean for method, image in cells.items()}
    limit = difference_limit({method: d for method, d in differences.items() if not is_failed(cells[method])})
    images = {**cells, target_label: clean}
    titles = [*(_cell_title(method, image, clean, window_hu) for method, image in cells.items()), target_label]
    # Each band has a row for the titles, as high as its longest, and three rows of panels.
    panels = [PANEL_INCHES * height for height in (clean.shape[0] / clean.shape[1], 1, clean.shape[0] / clean.shape[1])]
    heights: list[float] = []
    for first in range(0, n_cells, n_columns):
        n_lines = max(text.count("\n") + 1 for text in titles[first : first + n_columns])
        heights += [LINE_INCHES * (n_lines + 0.8), *panels]
    figure = Figure(figsize=(PANEL_INCHES * n_columns, sum(heights) + HEADING_INCHES))
    top = 1 - HEADING_INCHES / figure.get_figheight()
    figure.suptitle(title, fontsize=11, y=1 - 0.1 / figure.get_figheight(), va="top")
    grid = figure.add_gridspec(
        4 * n_bands, n_columns, height_ratios=heights, left=0.004, right=0.996, bottom=0.004, top=top,
        hspace=0.02, wspace=0.02,
    )  # fmt: skip
    for position, (method, image) in enumerate(images.items()):
        band, column = divmod(position, n_columns)
        whole, enlarged, change = (figure.add_subplot(grid[4 * band + row, column]) for row in (1, 2, 3))
        _show(whole, image, window_hu)
        whole.add_patch(_outline(zoom))
        whole.set_title(titles[position], pad=8, fontsize=8.5)
        _underline(whole, method)
        _show(enlarged, image[zoom.row : zoom.row + zoom.size, zoom.column : zoom.column + zoom.size], window_hu)
        for spine in enlarged.spines.values():
            spine.set(visible=True, color=ZOOM_COLOUR, linewidth=1)
        if method in differences:
            # Averaged before it is coloured: a mean of red and blue would be purple.
            change.imshow(differences[method], cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation_stage="data")
            change.set_axis_off()
        else:
            _explain(change, limit, target_label)
    return figure


def difference_limit(differences: dict[str, np.ndarray]) -> float:
    """Choose the end of the difference scale, HU: it holds 97 % of a typical method's differences, rounded up.

    The typical method is the median one, so that the worst doesn't make all others look perfect. The noisy image has
    a say only when there is nothing else.
    """
    chosen = [np.abs(image) for method, image in differences.items() if method != "noisy"] or [
        np.abs(image) for image in differences.values()
    ]
    reach = float(np.median([np.percentile(image, 97) for image in chosen]))
    step = 10.0 ** np.floor(np.log10(max(reach, 1.0)))
    return float(max(5.0, step * np.ceil(reach / step)))


def _cell_title(method: str, image: np.ndarray, clean: np.ndarray, window_hu: Sequence[float]) -> str:
    network, variant, seed = split_method(method)
    name = f"{network} (seed {seed})\n{variant_label(variant)}" if variant else method_label(method)
    if is_failed(image):
        return f"{name}\nno value: the method failed"
    return f"{name}\n{decibels(psnr_db(image, clean, window_hu), 2)}, SSIM {ssim(image, clean, window_hu):.3f}"


def _show(axes: Axes, image: np.ndarray, window_hu: Sequence[float]) -> None:
    # Shrunk pictures are averaged and enlarged ones keep their square pixels.
    axes.imshow(without_failures(image), cmap="gray", vmin=window_hu[0], vmax=window_hu[1], interpolation="antialiased")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outline(zoom: Zoom) -> Rectangle:
    return Rectangle(
        (zoom.column - 0.5, zoom.row - 0.5), zoom.size, zoom.size, fill=False, edgecolor=ZOOM_COLOUR, linewidth=1
    )


def _explain(axes: Axes, limit: float, target_label: str) -> None:
    """Put the scale of the differences where the target, which has none, leaves room."""
    axes.set_axis_off()
    scale = ScalarMappable(Normalize(-limit, limit), cmap="RdBu_r")
    bar = axes.figure.colorbar(scale, cax=axes.inset_axes((0.08, 0.5, 0.84, 0.09)), orientation="horizontal")
    bar.set_ticks([-limit, 0, limit])
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    axes.text(0.5, 0.72, f"bottom row: image − {target_label}, HU", transform=axes.transAxes, ha="center", fontsize=8)
    axes.text(0.5, 0.18, "middle row: the marked\nsquare, enlarged", transform=axes.transAxes, ha="center", fontsize=8)


def _underline(axes: Axes, method: str) -> None:
    """Draw the line that stands for a network's variant in the curves between its title and its picture."""
    _, variant, _ = split_method(method)
    if variant is not None:
        style = variant_styles([variant])[variant]
        axes.plot(
            (0.2, 0.8), (1.025, 1.025), color=style.colour, linestyle=style.line, linewidth=2.5,
            transform=axes.transAxes, clip_on=False,
        )  # fmt: skip
