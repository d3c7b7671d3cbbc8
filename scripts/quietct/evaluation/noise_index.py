"""Global noise index: how noisy the even soft tissue of an image is, told from the image alone.

Kuo et al., "An automated technique for global noise level measurement in CT image with a conjunction of image
gradient", Phys. Med. Biol. 69(9), 2024 (PMC11608062): the standard deviation in a small window moves over the image,
windows with steep gradients are left out, and the index is the commonest value that remains. Restricting it to soft
tissue goes back to Christianson et al., AJR 205(1), 2015.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter, gaussian_filter1d, minimum_filter, uniform_filter

WINDOW_PX = 10
SOFT_TISSUE_HU = (-75.0, 125.0)  # also that of phantoms, which can be -30 HU; all of a window has to be within
SMOOTHING_PX = 2.0  # before tissue and gradient are told
# In units of the lower quartile of the gradient in soft tissue, which is that of noise as long as a quarter of the
# tissue is even. Of noise alone, 1 pixel in 500 is steeper.
STEEP = 4.65
MIN_WINDOWS = 1000  # they overlap; 1000 of them are worth a few tens
BINS, SMOOTHING_BINS = 300, 6.0


def noise_index_hu(image: ArrayLike) -> float:
    """Measure the noise of a slice without a reference.

    Parameters
    ----------
    image : array (rows, columns)
        HU.

    Returns
    -------
    float
        The mode of the local standard deviation, HU. A window of 10 x 10 pixels does not see noise that is coarser
        than itself, so that noise with long waves is larger than its index. NaN where fewer than 1000 windows are in
        even soft tissue, or the image is constant.
    """
    hu = np.asarray(image, np.float32)
    if not np.ptp(hu):
        return float("nan")
    smooth = gaussian_filter(hu, SMOOTHING_PX)
    soft = (smooth > SOFT_TISSUE_HU[0]) & (smooth < SOFT_TISSUE_HU[1])
    if not soft.any():
        return float("nan")
    gradient = np.hypot(*np.gradient(smooth))
    steep = gradient > STEEP * np.quantile(gradient[soft], 0.25)
    chosen = minimum_filter(soft & ~steep, WINDOW_PX, mode="constant", cval=False)
    mean = uniform_filter(hu, WINDOW_PX)
    variance = uniform_filter(hu * hu, WINDOW_PX) - mean * mean
    unbiased = WINDOW_PX**2 / (WINDOW_PX**2 - 1)
    deviations = np.sqrt(unbiased * np.maximum(variance[chosen], 0))
    return _mode(deviations) if len(deviations) >= MIN_WINDOWS else float("nan")


def _mode(values: np.ndarray) -> float:
    """Find the commonest value, by a smoothed histogram in steps of a hundredth of the median."""
    middle = float(np.median(values))
    if not middle:
        return 0.0
    counts, edges = np.histogram(values, BINS, (0, 3 * middle))
    peak = int(np.argmax(gaussian_filter1d(counts.astype(float), SMOOTHING_BINS, mode="constant")))
    return float((edges[peak] + edges[peak + 1]) / 2)
