"""Picture of a calibration: measured beside simulated noise, and the kernel found."""

from __future__ import annotations

import logging
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from quietct.ct.volume import read_info
from quietct.figures.style import RC, save_figure

logger = logging.getLogger(__name__)

MEASURED, SIMULATED = "#0072B2", "#D55E00"


def plot_calibration(fit_json: str | Path, plot: str | Path, calibration: str) -> None:
    """Draw the noise spectra, the gain of the kernel, and the standard deviation of every region.

    Parameters
    ----------
    fit_json : path
        What `calibrate_noise` found, with measured noise beside noise simulated with it.
    plot : path
        The PNG to write.
    calibration : str
        For the title.
    """
    found = read_info(fit_json)
    kernel, nps, sd = found["kernel"], found["fit"]["nps"], found["fit"]["region_sd_hu"]
    frequency, nyquist = np.array(nps["frequency_per_mm"]), nps["nyquist_per_mm"]
    shown = (frequency > 0) & (frequency <= nyquist * 1.001)
    measured_sd, simulated_sd = np.array(sd["measured"]), np.array(sd["simulated"])
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(12, 4), layout="constrained")
        spectra, gain, levels = figure.subplots(1, 3)
        for values, label, colour, line, marker in (
            (nps["measured"], "measured", MEASURED, "-", "o"),
            (nps["simulated"], "simulated", SIMULATED, (0, (4, 2)), "s"),
        ):
            look = {"color": colour, "linestyle": line, "marker": marker, "markersize": 3.5, "label": label}
            spectra.plot(frequency[shown], np.array(values)[shown], **look)
        spectra.set(xlabel="Spatial frequency (cycles/mm)", ylabel="Noise power (HU² mm²)", title="Noise spectrum")
        spectra.set(xlim=(0, nyquist), ylim=(0, None))
        spectra.legend()
        gain.plot(kernel["frequency_per_mm"], kernel["gain"], color="black", linewidth=2)
        gain.axhline(1, color="#555555", linewidth=0.8, linestyle=":")
        gain.set(xlabel="Spatial frequency (cycles/mm)", ylabel="Gain on ramp noise", title="Kernel")
        gain.set(xlim=(0, nyquist), ylim=(0, None))
        end = 1.05 * max(measured_sd.max(), simulated_sd.max())
        levels.plot([0, end], [0, end], color="#555555", linewidth=0.8, linestyle=":", label="equal")
        levels.plot(simulated_sd, measured_sd, "o", color=MEASURED, markersize=3, alpha=0.5)
        ratio = np.median(measured_sd / simulated_sd)
        levels.set(xlabel="Standard deviation, simulated (HU)", ylabel="Standard deviation, measured (HU)")
        levels.set(xlim=(0, end), ylim=(0, end), aspect="equal", title=f"{len(measured_sd)} regions")
        levels.legend(title=f"median ratio {ratio:.3f}", loc="upper left")
        figure.suptitle(f"Calibration {calibration}: {found['photons']:.3g} photons", fontsize=11)
        save_figure(figure, plot, dpi=130)
    logger.info("%s: %d regions, median ratio %.3f", plot, len(measured_sd), ratio)
