"""What curves over spatial frequency share: reading the measures of all methods, and the gaps that are explained."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quietct.errors import UserError
from quietct.labels import method_label

FREQUENCY_LABEL = "Spatial frequency (1/mm)"
GREY = "#555555"
CHARACTERS_PER_INCH = 16  # of small print, where letters are as wide as they come


def read_measure(paths: Sequence[str | Path], measure: str) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Read one measure of all methods.

    Parameters
    ----------
    paths : sequence of path
        JSON of `measure_physics`.
    measure : str
        A key of it: `noise_power`, `task_transfer` or `nodules`.

    Returns
    -------
    found : dict of method to list of dict
        What was measured, one entry a series, with `series` in it. Methods are in the order of the paths.
    gaps : list of str
        Sentences that say what is missing, each once, with the methods where it is not so for all of them.

    Raises
    ------
    UserError
        If a file is none of `measure_physics`.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    missing: dict[str, list[str]] = {}
    methods = set()
    for path in paths:
        try:
            record = json.loads(Path(path).read_text())
            method, series, entry = record["method"], record["series"], record[measure]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} holds no measures ({error!r}). Delete it and run again.") from None
        methods.add(method)
        if "missing" in entry:
            missing.setdefault(f"{series}: {entry['missing']}", []).append(method)
        else:
            found.setdefault(method, []).append(entry | {"series": series})
    return found, [
        sentence if len(names) == len(methods) else f"{', '.join(map(method_label, names))}; {sentence}"
        for sentence, names in missing.items()
    ]


def mean_curve(entries: Sequence[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Average curves of several series.

    Parameters
    ----------
    entries : sequence of dict
        `frequency_per_mm` and the curve.
    name : str
        Key of the curve.

    Returns
    -------
    frequency, mean : ndarray
        Frequencies of the first series that all of them have. Values that are not there are NaN.
    """
    axes = [np.array(entry["frequency_per_mm"], float) for entry in entries]
    frequency = axes[0][axes[0] <= min(axis[-1] for axis in axes)]
    curves = [
        np.interp(frequency, axis, np.array(entry[name], float)) for axis, entry in zip(axes, entries, strict=True)
    ]
    return frequency, np.mean(curves, axis=0)


def mean_of(entries: Sequence[dict[str, Any]], name: str) -> float:
    """Average a number over several series; NaN if one of them lacks it."""
    values = [entry.get(name) for entry in entries]
    return float("nan") if None in values else float(np.mean(np.array(values, float)))


def add_legend(figure: Figure, axes: Axes, title: str, gaps: Sequence[str]) -> None:
    """Put the legend of `axes` below all plots, with what is missing above its title, no wider than the figure."""
    handles, labels = axes.get_legend_handles_labels()
    characters = CHARACTERS_PER_INCH * figure.get_figwidth()
    columns = min(3, max(1, int(characters / (max(map(len, labels)) + 12))))  # a line and the space beside it
    legend = figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, handlelength=4, fontsize=8,
        title="\n".join([*wrapped(gaps, figure), title]), title_fontsize=8,
    )  # fmt: skip
    legend.get_title().set_multialignment("center")


def wrapped(gaps: Sequence[str], figure: Figure) -> list[str]:
    """Break sentences into lines that the figure has room for."""
    width = int(CHARACTERS_PER_INCH * figure.get_figwidth())
    return [line for gap in gaps for line in textwrap.wrap(gap, width)]


def explain(axes: Axes, gaps: Sequence[str]) -> None:
    """Write into an empty plot why nothing is drawn."""
    axes.set_axis_off()
    text = "\n".join(gaps) or "Nothing was measured."
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, wrap=True)
