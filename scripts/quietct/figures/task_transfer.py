"""How sharp every method leaves an edge: task transfer functions at the rims of nodules."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quietct.figures.physics_curves import FREQUENCY_LABEL, GREY, add_legend, explain, mean_curve, mean_of, read_measure
from quietct.figures.style import RC, method_label, method_look, save_figure

logger = logging.getLogger(__name__)

HALF = 0.5


def plot_task_transfer(measures: Sequence[str | Path], plot: str | Path, noise: str) -> None:
    """Draw the task transfer function of every method and of the target, with the frequency where half is left.

    Parameters
    ----------
    measures : sequence of path
        JSON of `measure_physics`, of the methods to draw and all test series; the mean over the series is drawn.
    plot : path
        The PNG to write. What is missing is said in it.
    noise : str
        For the title.

    Raises
    ------
    UserError
        If a file is none of `measure_physics`.
    """
    found, gaps = read_measure(measures, "task_transfer")
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(8, 6 if found else 2), layout="constrained")
        axes = figure.add_subplot()
        if found:
            for method, entries in found.items():
                _draw(axes, method_label(method), entries, {**method_look(method), "markevery": 3})
            first = next(iter(found.values()))
            target = [entry["target"] | {"frequency_per_mm": entry["frequency_per_mm"]} for entry in first]
            _draw(axes, "target", target, method_look("clean"))
            axes.axhline(HALF, color=GREY, linewidth=0.8)
            axes.set(xlabel=FREQUENCY_LABEL, ylabel="Task transfer (share of the contrast that is left)")
            axes.set_xlim(0, _shown(found))
            axes.set_ylim(0, None)
            add_legend(figure, axes, "half is left at", gaps)
            count = sum(entry["n_nodules"] for entry in first)
            rims = f"the rims of {count} nodules" if count != 1 else "the rim of a nodule"
        else:
            explain(axes, gaps)
            rims = "the rims of nodules"
        figure.suptitle(f"Noise {noise}: sharpness at {rims}", fontsize=11)
        save_figure(figure, plot, dpi=120)
    logger.info("%s: %d methods, %d gaps", plot, len(found), len(gaps))


def _draw(axes: Axes, name: str, entries: Sequence[dict[str, Any]], look: dict[str, Any]) -> None:
    """Draw a curve, and a dot where it falls to a half."""
    frequency, transfer = mean_curve(entries, "ttf")
    half = mean_of(entries, "ttf50_per_mm")
    label = f"{name}: {half:.2f}/mm" if np.isfinite(half) else f"{name}: not reached"
    axes.plot(frequency, transfer, label=label, **look)
    if np.isfinite(half):
        axes.plot([half], [HALF], marker="o", markersize=6, color=look["color"], markeredgecolor="white", zorder=3)


def _shown(found: dict[str, list[dict[str, Any]]]) -> float:
    """Choose the last frequency to show: where all curves have fallen below a tenth, or the end."""
    last = 0.0
    for entries in found.values():
        frequency, transfer = mean_curve(entries, "ttf")
        above = frequency[transfer > 0.1]
        last = max(last, float(above[-1]) if len(above) else 0.0)
    return min(1.15 * last, float(frequency[-1])) if last > 0 else float(frequency[-1])
