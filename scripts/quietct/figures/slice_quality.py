"""How quality varies from slice to slice: every slice of every method as a dot."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quietct.evaluation.slices import MEASURES, Slices, slices_of
from quietct.figures.style import RC, method_colour, method_label, save_figure, variant_label, variant_styles

logger = logging.getLogger(__name__)

DIGITS = {"psnr_db": 1, "ssim": 3, "rmse_hu": 1}
SHOWN = tuple(DIGITS)
# Dots of a row spread over this share of it.
SPREAD = 0.7


def plot_slice_quality(metrics: Sequence[str | Path], plot: str | Path, noise: str) -> None:
    """Draw PSNR, SSIM and RMSE of every slice, a row a method, with medians.

    All seeds of a variant share a row. The best mean PSNR comes first, as in the summary. Within a row, the first slice
    is at the top and the last at the bottom, so that a drift along the body shows.

    Parameters
    ----------
    metrics : sequence of paths
        Tables written by `measure_quality` for one noise.
    plot : path
        The PNG to write.
    noise : str
        For the title.
    """
    slices = slices_of(metrics)
    rows = _rows(slices)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(10, 1.3 + 0.36 * len(rows)), layout="constrained")
        shown = [name for name in SHOWN if name in slices.measures]
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, shown, strict=True):
            for place, (_, colour, values) in enumerate(rows):
                _draw_row(axes, place, values[measure].to_numpy(float), values["place"].to_numpy(), colour, measure)
            label, unit = MEASURES[measure].label, MEASURES[measure].unit
            better = "higher is better" if MEASURES[measure].sign > 0 else "lower is better"
            axes.set_xlabel(f"{label} ({unit}), {better}" if unit else f"{label}, {better}")
            axes.grid(axis="y", visible=False)
        panels[0].set_yticks(range(len(rows)), [label for label, _, _ in rows])
        panels[0].set_ylim(len(rows) - 0.4, -0.6)
        figure.suptitle(f"Noise {noise}: {_count(slices)}; a dot a slice, a bar and a number the median", fontsize=11)
        save_figure(figure, plot, dpi=130)
    logger.info("%s: %d rows", plot, len(rows))


def _rows(slices: Slices) -> list[tuple[str, str, pd.DataFrame]]:
    """Give label, colour and slices of each row, the best mean PSNR first."""
    table = slices.table
    order = {place: k for k, place in enumerate(sorted(set(zip(table["series"], table["slice"], strict=True))))}
    table = table.assign(place=[order[place] for place in zip(table["series"], table["slice"], strict=True)])
    table["place"] /= max(len(order) - 1, 1)
    trained = table["network"].notna()
    table["row"] = table["method"].where(~trained, table["network"].astype(str) + "-" + table["variant"].astype(str))
    looks = variant_styles(list(table.loc[trained, "variant"].unique()))
    rows = []
    for _, group in table.groupby("row", sort=True):
        first, n_seeds = group.iloc[0], group["seed"].nunique()
        label = method_label(first["method"])
        if n_seeds > 1:
            label = f"{first['network']} · {variant_label(first['variant'])} ({n_seeds} seeds)"
        colour = looks[first["variant"]].colour if first["variant"] in looks else method_colour(first["method"])
        rows.append((f"{label}{_gaps(group[SHOWN[0]])}", colour, group))
    return sorted(rows, key=lambda row: -row[2][SHOWN[0]].mean() if row[2][SHOWN[0]].notna().any() else np.inf)


def _gaps(values: pd.Series) -> str:
    """Say for how many slices there is no dot, and why."""
    counts = [(values.isna().sum(), "failed"), (np.isinf(values).sum(), "equal to the target")]
    return "".join(f"\n{count} of {len(values)} {what}" for count, what in counts if count)


def _draw_row(axes: Axes, row: int, values: np.ndarray, place: np.ndarray, colour: str, measure: str) -> None:
    finite = np.isfinite(values)
    heights = row + SPREAD * (place - 0.5)
    size, alpha = (9, 0.8) if len(values) <= 60 else (4, 0.5)
    axes.scatter(values[finite], heights[finite], s=size, color=colour, alpha=alpha, linewidth=0, zorder=2)
    if np.isnan(values).all():
        return
    middle = float(np.median(values[~np.isnan(values)]))
    text = "∞"
    if np.isfinite(middle):
        text = f"{middle:.{DIGITS[measure]}f}"
        axes.plot([middle] * 2, [row - 0.43, row + 0.43], color="black", linewidth=1, zorder=3)
    axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)


def _count(slices: Slices) -> str:
    places = slices.table[["series", "slice"]].drop_duplicates()
    n_series, slices_text = places["series"].nunique(), f"{len(places)} slice{'s' * (len(places) > 1)}"
    return f"{slices_text} of {n_series} series" if n_series > 1 else f"{slices_text} of {places['series'].iloc[0]}"
