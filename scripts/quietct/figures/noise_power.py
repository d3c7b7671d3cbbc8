"""How much noise every method leaves, and how coarse it is: noise power spectra."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from quietct.figures.physics_curves import FREQUENCY_LABEL, add_legend, explain, mean_curve, mean_of, read_measure
from quietct.figures.style import RC, method_label, method_look, save_figure

logger = logging.getLogger(__name__)


def plot_noise_power(measures: Sequence[str | Path], plot: str | Path, noise: str) -> None:
    """Draw the noise power spectrum of every method, and the same with all areas made equal.

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
    found, gaps = read_measure(measures, "noise_power")
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(10, 5.4 if found else 2), layout="constrained")
        if found:
            power_axes, shape_axes = figure.subplots(1, 2)
            for method, entries in found.items():
                # Where the frequency is 0, the trend that was taken out leaves rounding errors.
                frequency, power = (values[1:] for values in mean_curve(entries, "power_hu2_mm2"))
                sd, middle = mean_of(entries, "sd_hu"), mean_of(entries, "mean_per_mm")
                label = f"{method_label(method)}: {sd:.3g} HU"
                label += f", {middle:.2f}/mm" if np.isfinite(middle) else ", no noise"
                look = method_look(method)
                power_axes.plot(frequency, np.where(power > 0, power, np.nan), label=label, **look)
                area = np.trapezoid(power, frequency)
                if area > 0:
                    shape_axes.plot(frequency, power / area, **look)
            if any(np.nanmax(line.get_ydata(), initial=0) > 0 for line in power_axes.lines):
                power_axes.set_yscale("log")
            power_axes.set(xlabel=FREQUENCY_LABEL, ylabel="Noise power (HU² mm²)", title="how much")
            shape_axes.set(xlabel=FREQUENCY_LABEL, ylabel="Noise power over its area (mm)", title="how coarse")
            shape_axes.set_ylim(bottom=0)
            for axes in (power_axes, shape_axes):
                axes.set_xlim(left=0)
            add_legend(figure, power_axes, "standard deviation, mean frequency", gaps)
        else:
            explain(figure.add_subplot(), gaps)
        figure.suptitle(f"Noise {noise}: noise power spectra in homogeneous soft tissue", fontsize=11)
        save_figure(figure, plot, dpi=120)
    logger.info("%s: %d methods, %d gaps", plot, len(found), len(gaps))
