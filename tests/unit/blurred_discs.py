"""Pictures of spheres behind a blur of known transfer function, for tests."""

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

PIXEL_MM = 0.7
SIZE, FINE = 96, 6


def blurred_discs(sigma_mm, radii_mm=(8.0, 8.0, 8.0), contrast_hu=100.0, background_hu=-850.0, offset_px=0.5):
    """One disc a slice, 10 mm apart, near the middle of 96 x 96 pixels.

    Returns the slices (n, 96, 96) in HU, the table of nodules and the heights. The disc is drawn and blurred in
    sixths of a pixel, so that its transfer function is the Gaussian's times that of the pixel.
    """
    rng = np.random.default_rng(8)
    at = (np.arange(SIZE * FINE) + 0.5) / FINE - 0.5
    slices, rows, z_mm = [], [], 10.0 * np.arange(len(radii_mm))
    for z, radius in zip(z_mm, radii_mm, strict=True):
        row, column = SIZE / 2 + rng.uniform(-offset_px, offset_px, 2)
        disc = (np.hypot(at[:, None] - row, at - column) * PIXEL_MM <= radius).astype(float)
        disc = gaussian_filter(disc, sigma_mm / PIXEL_MM * FINE) if sigma_mm else disc
        slices.append(background_hu + contrast_hu * disc.reshape(SIZE, FINE, SIZE, FINE).mean(axis=(1, 3)))
        rows.append((row, column, z, 2 * radius, background_hu + contrast_hu))
    table = pd.DataFrame(rows, columns=["row", "column", "z_mm", "diameter_mm", "hu"])
    return np.array(slices), table, z_mm
