"""Repeats of a synthetic chest whose true shift is exact: every edge is a formula, sampled at the shifted place."""

from __future__ import annotations

import numpy as np
from scipy.special import erfc


def chest(shift=(0.0, 0.0), side=192, z=0.0, table_shift=None):
    """Body, lungs, vessels and table with edges that pixels resolve, in HU; `z` (mm) changes the vessels."""
    rows, columns = np.mgrid[:side, :side].astype(float)
    scale = side / 192

    def ellipse(centre, radii, moved=shift):
        y = (rows - (centre[0] * scale + moved[0])) / (radii[0] * scale)
        x = (columns - (centre[1] * scale + moved[1])) / (radii[1] * scale)
        distance = (y**2 + x**2 - 1) / 2 * min(radii) * scale  # smooth everywhere, right at the edge
        return erfc(distance / 1.8) / 2

    hu = -1000 + 1040 * ellipse((92, 96), (52, 76))
    for centre in ((88, 62), (88, 130)):
        hu -= 880 * ellipse(centre, (34, 22))
    hu += 400 * ellipse((126, 96), (9, 9))
    for k in range(12):
        centre = (65 + 4 * k + 6 * np.sin(z / 5 + k), (62 if k % 2 else 130) + 12 * np.sin(3.0 * k + z / 7))
        hu += 700 * ellipse(centre, (3, 2.5))
    return hu + 600 * ellipse((160, 96), (3, 80), shift if table_shift is None else table_shift)


def ramp_noise(rng, sd_hu, side=192):
    """Noise as a soft kernel leaves it: a ramp times a Hann window squared."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    gain = np.sqrt(frequency) * np.where(frequency < 0.5, np.cos(np.pi * frequency) ** 2, 0)
    white = np.fft.fft2(rng.standard_normal((side, side)))
    return np.fft.ifft2(white * gain).real * (sd_hu / np.sqrt(np.mean(gain**2)))
