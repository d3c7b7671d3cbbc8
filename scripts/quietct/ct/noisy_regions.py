"""Where in registered repeats their difference is noise and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

from quietct.ct.patches import body_mask
from quietct.evaluation.noise_power import detrended, noise_power, repeat_noise

# A compromise: small enough for muscle and liver, large enough to tell low frequencies (its step is 0.04 cycles/mm).
REGION_MM = 24.0
MIN_SIDE = 16
SMOOTHING_PX = 2.0
# What a difference leaves of an edge is not noise: registration is right to about a twentieth of a pixel, and the
# artefacts of a helical scan turn with the tube. So the mean may rise by less than this share of the noise in a pixel.
STEEPEST = 0.3
CLIPPED_WITHIN_SD = 3.0  # nearer to an end of the scale, the tail of the noise is cut off


def region_side(pixel_mm: float) -> int:
    """Side of a region in pixels."""
    return max(MIN_SIDE, round(REGION_MM / pixel_mm))


def cut(images: np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
    """Cut square regions out of an image, or of several.

    Parameters
    ----------
    images : ndarray (..., rows, columns)
    corners : ndarray of int (regions, 2)
        First row and column of each region.
    side : int

    Returns
    -------
    ndarray (regions, ..., side, side)
    """
    windows = sliding_window_view(images, (side, side), axis=(-2, -1))
    return np.moveaxis(windows[..., corners[:, 0], corners[:, 1], :, :], -3, 0)


def usable_regions(images: np.ndarray, pixel_mm: float, ends_hu: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Find the regions of a slice in which noise can be measured, and measure it.

    They lie inside the body, overlap by half, have no edge that could be left over from registration, and are far
    enough from the ends of the scale.

    Parameters
    ----------
    images : ndarray (repeats, rows, columns)
        Registered repeats, HU.
    pixel_mm : float
        Side of the square pixels.
    ends_hu : (low, high)
        Lowest and highest value that occurs, HU: where the scale may be clipped.

    Returns
    -------
    corners : ndarray of int (regions, 2)
        First row and column of each region.
    power : ndarray of float64 (regions, repeats - 1, side, side)
        Power of the independent images of noise that the repeats give (see `repeat_noise`), HU² mm², without a trend
        of second order: repeats also differ by slow shading.
    """
    side = region_side(pixel_mm)
    rows, columns = images.shape[1:]
    corners = np.argwhere(np.ones((max(0, rows - side) // (side // 2) + 1, max(0, columns - side) // (side // 2) + 1)))
    corners = corners * (side // 2) if min(rows, columns) >= side else corners[:0]
    smooth = gaussian_filter(images.mean(axis=0), SMOOTHING_PX)
    body = body_mask(smooth, threshold_otsu(smooth)) if np.ptp(smooth) else np.zeros(smooth.shape, bool)
    corners = corners[cut(body, corners, side).all(axis=(1, 2))] if len(corners) else corners
    if not len(corners):
        return corners, np.empty((0, len(images) - 1, side, side))
    noise = detrended(cut(repeat_noise(images), corners, side))
    sd = np.sqrt(np.square(noise).mean(axis=(1, 2, 3)))
    values = cut(smooth, corners, side)
    slope = np.sqrt(cut(np.square(np.gradient(smooth)).sum(axis=0), corners, side).mean(axis=(1, 2)))
    usable = (
        (values.min(axis=(1, 2)) > ends_hu[0] + CLIPPED_WITHIN_SD * sd)
        & (values.max(axis=(1, 2)) < ends_hu[1] - CLIPPED_WITHIN_SD * sd)
        & (slope < STEEPEST * sd)
    )
    return corners[usable], noise_power(noise[usable], pixel_mm)
