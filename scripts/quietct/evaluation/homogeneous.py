"""Where in soft tissue a scan is homogeneous enough for its noise to be measured, and the noise there.

The regions are chosen on the target alone, so that they are the same for every method.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from quietct.ct.noisy_regions import cut
from quietct.evaluation.noise_power import detrended, mean_frequency, noise_power, peak_frequency, ring_average

# A chest has few large homogeneous places: muscle, heart and great vessels. Regions of 16 mm fit there, and their step
# in frequency is 0.06 cycles/mm; regions of 24 mm, as for calibrations, would be too few.
REGION_MM = 16.0
MIN_SIDE = 16
MIN_REGIONS = 8  # fewer give no spectrum that could be compared: the error of a ring is about 1 / sqrt(regions)
SOFT_TISSUE_HU = (-20.0, 120.0)
LARGEST_RANGE_HU = 60.0  # within a region of the smoothed target
SMOOTHING_PX = 1.5
TREND_PARAMETERS = 6  # that `detrended` takes out of each region


def homogeneous_regions(target: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Find homogeneous regions of soft tissue in a slice that do not overlap.

    Parameters
    ----------
    target : ndarray (rows, columns)
        The slice's target, HU. It may have some noise: it is smoothed first.
    pixel_mm : float
        Side of the square pixels.

    Returns
    -------
    ndarray of int (regions, 2)
        First row and column of each square of `region_side` pixels, taken greedily from the top.
    """
    side = region_side(pixel_mm)
    if min(target.shape) < side:
        return np.empty((0, 2), int)
    smooth = gaussian_filter(target.astype(float), SMOOTHING_PX)
    # The filters look from each pixel down and to the right.
    low, high = (extreme(smooth, side, origin=-(side // 2)) for extreme in (minimum_filter, maximum_filter))
    fits = (low > SOFT_TISSUE_HU[0]) & (high < SOFT_TISSUE_HU[1]) & (high - low < LARGEST_RANGE_HU)
    fits[target.shape[0] - side + 1 :] = False
    fits[:, target.shape[1] - side + 1 :] = False
    corners = []
    for row in range(len(fits)):
        while len(columns := np.flatnonzero(fits[row])):
            corners.append((row, columns[0]))
            fits[row : row + side, max(0, columns[0] - side + 1) : columns[0] + side] = False
    return np.array(corners, int).reshape(-1, 2)


def region_side(pixel_mm: float) -> int:
    """Side of a region in pixels."""
    return max(MIN_SIDE, round(REGION_MM / pixel_mm))


def noise_regions(
    images: Iterable[np.ndarray], targets: Iterable[np.ndarray], pixel_mm: float, exact_target: bool
) -> Iterator[np.ndarray]:
    """Cut the noise of an image out of all homogeneous regions of its slices, one slice after the other.

    Parameters
    ----------
    images, targets : iterables of ndarray (rows, columns)
        Slices of a method's image and of its target, HU.
    pixel_mm : float
    exact_target : bool
        Whether the target is the exact truth. Then noise is image minus target, which also holds what the method did
        to the fine structure of the tissue. Otherwise it is the image itself. Of both a trend of second order is
        subtracted (see `detrended`).

    Yields
    ------
    ndarray of float64 (regions, side, side)
        HU, of a slice that has any; see `region_side`.
    """
    side = region_side(pixel_mm)
    for image, target in zip(images, targets, strict=True):
        corners = homogeneous_regions(target, pixel_mm)
        if len(corners):
            yield detrended(cut(image - target.astype(float) if exact_target else image.astype(float), corners, side))


def measure_noise_power(noise: Iterable[np.ndarray], pixel_mm: float) -> dict[str, object]:
    """Sum up the noise of a method as a physicist does: spectrum, peak, mean and standard deviation.

    AAPM Task Group 233 (Samei et al., Med. Phys. 46(11), 2019) describes noise by these; the spectrum is that of
    `quietct.evaluation.noise_power`, averaged over regions and directions.

    Parameters
    ----------
    noise : iterable of ndarray (regions, side, side)
        From `noise_regions`; looked at one by one.
    pixel_mm : float

    Returns
    -------
    dict
        `frequency_per_mm` and `power_hu2_mm2` (lists), `peak_per_mm` and `mean_per_mm` (None for an image without any
        noise), `sd_hu`, `n_regions`; or `missing`, a sentence, where there are fewer than `MIN_REGIONS` regions.
    """
    side = region_side(pixel_mm)
    count, squares, power = 0, 0.0, np.zeros((side, side))
    for regions in noise:
        count += len(regions)
        squares += float(np.square(regions).sum())
        power += noise_power(regions, pixel_mm).sum(axis=0)
    if count < MIN_REGIONS:
        return {
            "missing": f"The target has {count} homogeneous regions of soft tissue of {REGION_MM:g} mm, "
            f"but {MIN_REGIONS} are needed."
        }
    frequency, rings = ring_average(power / count, pixel_mm)
    free = 1 - TREND_PARAMETERS / power.size
    quiet = not rings.any()
    return {
        "frequency_per_mm": frequency.tolist(),
        "power_hu2_mm2": rings.tolist(),
        "peak_per_mm": None if quiet else peak_frequency(frequency, rings),
        "mean_per_mm": None if quiet else mean_frequency(frequency, rings),
        "sd_hu": float(np.sqrt(squares / (count * power.size) / free)),
        "n_regions": count,
    }
