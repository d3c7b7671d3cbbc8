"""Picture of a calibration: measured beside simulated noise, and the kernel found."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from quietct.ct.low_dose import Scanner
from quietct.ct.noise_fit import NoiseComparison
from quietct.figures.style import RC, save_figure

MEASURED, SIMULATED = "#0072B2", "#D55E00"


def plot_calibration(found: NoiseComparison, scanner: Scanner, plot: str | Path, calibration: str) -> None:
    """Draw the noise spectra, the gain of the kernel, and the standard deviation of every region.

    Parameters
    ----------
    found : NoiseComparison
        Measured noise beside noise simulated with the scanner.
    scanner : Scanner
        What was found.
    plot : path
        The PNG to write.
    calibration : str
        For the title.
    """
    nyquist = found.nyquist_per_mm
    shown = (found.frequency > 0) & (found.frequency <= nyquist * 1.001)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(12, 4), layout="constrained")
        spectra, gain, levels = figure.subplots(1, 3)
        for values, label, colour, line, marker in (
            (found.measured, "measured", MEASURED, "-", "o"),
            (found.simulated, "simulated", SIMULATED, (0, (4, 2)), "s"),
        ):
            look = {"color": colour, "linestyle": line, "marker": marker, "markersize": 3.5, "label": label}
            spectra.plot(found.frequency[shown], values.mean(axis=(0, 1))[shown], **look)
        spectra.set(xlabel="Spatial frequency (cycles/mm)", ylabel="Noise power (HU² mm²)", title="Noise spectrum")
        spectra.set(xlim=(0, nyquist), ylim=(0, None))
        spectra.legend()
        if scanner.kernel is not None:
            gain.plot(scanner.kernel.frequency_per_mm, scanner.kernel.gain, color="black", linewidth=2)
        gain.axhline(1, color="#555555", linewidth=0.8, linestyle=":")
        gain.set(xlabel="Spatial frequency (cycles/mm)", ylabel="Gain on ramp noise", title="Kernel")
        gain.set(xlim=(0, nyquist), ylim=(0, None))
        end = 1.05 * max(found.measured_sd.max(), found.simulated_sd.max())
        levels.plot([0, end], [0, end], color="#555555", linewidth=0.8, linestyle=":", label="equal")
        levels.plot(found.simulated_sd, found.measured_sd, "o", color=MEASURED, markersize=3, alpha=0.5)
        ratio = np.median(found.measured_sd / found.simulated_sd)
        levels.set(xlabel="Standard deviation, simulated (HU)", ylabel="Standard deviation, measured (HU)")
        levels.set(xlim=(0, end), ylim=(0, end), aspect="equal", title=f"{len(found.measured_sd)} regions")
        levels.legend(title=f"median ratio {ratio:.3f}", loc="upper left")
        figure.suptitle(f"Calibration {calibration}: {scanner.photons:.3g} photons", fontsize=11)
        save_figure(figure, plot, dpi=130)
