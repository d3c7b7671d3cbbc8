"""A forest plot: how far the variants of back-propagation differ, and how well that is known."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from quietct.evaluation.slices import MEASURES
from quietct.figures.style import RC, save_figure, variant_label

logger = logging.getLogger(__name__)

NUMBERS = {name: [""] for name in ("mean_first", "mean_second", "difference", "low", "high", "p", "p_adjusted")}
SHOWN = ("psnr_db", "ssim", "rmse_hu")
# A full dot is a difference, an open one is none, and a cross was not tested: told apart in black and white.
MARKS: dict[str, dict[str, Any]] = {
    "a real difference": {"marker": "o", "color": "#0072B2", "markerfacecolor": "#0072B2"},
    "no difference shown": {"marker": "o", "color": "#555555", "markerfacecolor": "white"},
    "not testable": {"marker": "x", "color": "#555555"},
}


def plot_differences(comparison_tsv: str | Path, plot: str | Path, noise: str, variants: list[str]) -> None:
    """Draw the mean difference of every pair of variants with its 95 % interval.

    Parameters
    ----------
    comparison_tsv : path
        Table written by `compare_methods`.
    plot : path
        The PNG to write.
    noise : str
        The noise whose pairs are drawn.
    variants : list of str
        Pairs of other methods are left out.
    """
    names = {"noise": str, "network": str, "first": str, "second": str, "note": str}
    table = pd.read_csv(comparison_tsv, sep="\t", dtype=names, keep_default_na=False, na_values=NUMBERS)
    table = table[(table["noise"] == noise) & table["second"].isin(variants) & table["measure"].isin(SHOWN)]
    pairs = list(table[["network", "first", "second"]].drop_duplicates().itertuples(index=False, name=None))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(11, 1.9 + 0.27 * max(len(pairs), 2)), layout="constrained")
        if pairs:
            _draw(figure, table, pairs)
        else:
            figure.text(0.5, 0.45, "one kind of back-propagation: no pair to compare", ha="center", color="#555555")
        figure.suptitle(f"Noise {noise}: differences between the kinds of back-propagation{_shape(table)}", fontsize=11)
        save_figure(figure, plot, dpi=130)
    logger.info("%s: %d pairs", plot, len(pairs))


def _draw(figure: Figure, table: pd.DataFrame, pairs: list[tuple[str, str, str]]) -> None:
    measures = [name for name in SHOWN if (table["measure"] == name).any()]
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    several = len({network for network, _, _ in pairs}) > 1
    for axes, measure in zip(panels, measures, strict=True):
        rows = table[table["measure"] == measure].set_index(["network", "first", "second"])
        for place, pair in enumerate(pairs):
            _draw_pair(axes, place, rows.loc[pair])
        axes.axvline(0, color="black", linewidth=1)
        unit, better = MEASURES[measure].unit, MEASURES[measure].sign > 0
        side = "first better →" if better else "← first better"
        axes.set_xlabel(f"Difference in {MEASURES[measure].label}{f' ({unit})' if unit else ''}\n{side}")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y", visible=False)
    labels = [
        f"{f'{network}: ' if several else ''}{variant_label(first)} − {variant_label(second)}"
        for network, first, second in pairs
    ]
    panels[0].set_yticks(range(len(pairs)), labels)
    panels[0].set_ylim(len(pairs) - 0.5, -0.5)
    handles = [Line2D([], [], linestyle="", label=label, **look) for label, look in MARKS.items()]
    handles.append(Line2D([], [], color="#555555", label="95 % interval of each pair by itself"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _draw_pair(axes: Axes, place: int, row: pd.Series) -> None:
    look = MARKS["a real difference" if row["verdict"] in ("better", "worse") else row["verdict"]]
    if pd.isna(row["difference"]):
        axes.text(0.5, place, "no value", transform=axes.get_yaxis_transform(), ha="center", va="center", fontsize=7)
        return
    if pd.notna(row["low"]):
        axes.plot([row["low"], row["high"]], [place] * 2, color=look["color"], linewidth=1.4)
    axes.plot(row["difference"], place, linestyle="", markersize=5.5, **look)


def _shape(table: pd.DataFrame) -> str:
    """Count seeds and slices for the title."""
    if table.empty:
        return ""
    n_seeds, n_slices = int(table["n_seeds"].max()), int(table["n_slices"].max())
    if n_seeds == 1:
        return f"\n1 seed, {n_slices} slices: the intervals are over slices, of these trainings alone"
    return f"\n{n_seeds} seeds, {n_slices} slices"
