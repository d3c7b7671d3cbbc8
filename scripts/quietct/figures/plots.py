"""Curves of a training: the cost and the validation PSNR of all variants of a network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from quietct.errors import UserError
from quietct.figures.style import RC, save_figure, variant_label, variant_styles

logger = logging.getLogger(__name__)

COLUMNS = {"loss": "Cost on the training patches (no unit)", "validation_psnr_db": "Validation PSNR (dB)"}
MIN_DECADES = 0.02


def plot_cost_curves(
    histories: Sequence[str | Path],
    variants: Sequence[str],
    seeds: Sequence[int],
    plot: str | Path,
    network: str,
    noise: str,
) -> None:
    """Draw cost and validation PSNR over the epochs, one colour a variant.

    A thick line is the mean over the seeds, thin lines are the single seeds.

    Parameters
    ----------
    histories : sequence of paths
        history.tsv of each training; the columns epoch, loss and validation_psnr_db are used.
    variants : sequence of str
        Variant of each history.
    seeds : sequence of int
        Seed of each history.
    plot : path
        The PNG to write.
    network, noise : str
        For the title.

    Raises
    ------
    UserError
        If a history is empty or lacks a column.
    """
    table = pd.concat(
        [
            _read_history(path).assign(variant=variant, seed=seed)
            for path, variant, seed in zip(histories, variants, seeds, strict=True)
        ],
        ignore_index=True,
    )
    styles = variant_styles(variants)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        for axes, (column, label) in zip(figure.subplots(1, 2), COLUMNS.items(), strict=True):
            # A diverged training leaves infinities, and a logarithm has no place for zero: both become gaps.
            usable = np.isfinite(table[column]) & ((table[column] > 0) | (column != "loss"))
            values = table[column].where(usable)
            # Before the first epoch there is no cost.
            lost = int((~usable & (table[column].notna() | (table["epoch"] > 0))).sum())
            for variant, style in styles.items():
                rows = table[table["variant"] == variant].assign(value=values)
                by_seed = rows.pivot(index="epoch", columns="seed", values="value")
                look: dict[str, Any] = {"color": style.colour, "linestyle": style.line}
                if by_seed.shape[1] > 1:
                    axes.plot(by_seed.index, by_seed, linewidth=0.7, alpha=0.45, **look)
                mean = by_seed.mean(axis=1, skipna=False)
                dot = "o" if mean.notna().sum() == 1 else None  # a single epoch makes no line
                axes.plot(mean.index, mean, linewidth=2, marker=dot, label=variant_label(variant), **look)
            axes.set(xlabel="Epoch", ylabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            _note(axes, values.notna().any(), lost)
            if column == "loss" and values.notna().any():
                _logarithmic(axes, values.min(), values.max())
        n_seeds = len(set(seeds))
        spread = f", mean of {n_seeds} seeds (thin: each seed)" if n_seeds > 1 else f", seed {seeds[0]}"
        figure.suptitle(f"{network}, noise {noise}{spread}", fontsize=11)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), handlelength=4)
        save_figure(figure, plot, dpi=130)
    logger.info("%s: %d trainings", plot, len(histories))


def _read_history(path: str | Path) -> pd.DataFrame:
    table = pd.read_csv(path, sep="\t")
    missing = [name for name in ("epoch", *COLUMNS) if name not in table]
    if missing or table.empty:
        fault = f"lacks the column {missing[0]}" if missing else "has no rows"
        raise UserError(f"{path} {fault}. Delete it and train again.")
    return table[["epoch", *COLUMNS]].apply(pd.to_numeric, errors="coerce")


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    """Make the y axis logarithmic, with some height even where the cost hardly moves."""
    axes.set_yscale("log")
    if np.log10(high / low) < MIN_DECADES:
        middle = np.sqrt(low * high)
        axes.set_ylim(middle * 10 ** (-MIN_DECADES / 2), middle * 10 ** (MIN_DECADES / 2))
    if np.log10(high / low) < 1:
        # Less than a decade: no power of ten may lie in it, so that plain numbers are written at ordinary places.
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(ScalarFormatter(useMathText=True))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _note(axes: Axes, anything: bool, lost: int) -> None:
    """Say in the plot what can't be drawn."""
    if not anything:
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", va="center", color="#555555")
    elif lost:
        text = f"{lost} value{'s' if lost > 1 else ''} not finite or not positive: not drawn"
        axes.text(0.98, 0.98, text, transform=axes.transAxes, ha="right", va="top", fontsize=8, color="#555555")
