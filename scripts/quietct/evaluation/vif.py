"""Visual information fidelity in the pixel domain, on a fixed scale of HU.

Sheikh and Bovik, "Image information and visual quality", IEEE Trans. Image Process. 15(2), 2006, in the simplified form
that its authors published beside it (vifp), as ldct-benchmark (Eulig et al., Med. Phys. 51(12), 2024) computes it.
How much of what an eye could learn from the reference is in the image: each of four scales counts the information of
local contrast that survives the noise of the eye.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import correlate1d

# The eye's noise is absolute, so the measure depends on the scale; this is the one of ldct-benchmark.
OFFSET_HU, LARGEST = 1024.0, 2924.0
EYE_VARIANCE = 2.0
SCALES = 4
TINY = 1e-10


def vif(image: ArrayLike, reference: ArrayLike) -> float:
    """Compute the visual information fidelity of an image.

    Parameters
    ----------
    image, reference : array (rows, columns)
        HU, of equal shape, at least 41 x 41; HU + 1024 is clipped to 0..2924.

    Returns
    -------
    float
        1 for equal images, less where noise or blur take information away, more where contrast was raised; no unit.
        NaN where the reference has no information, as a constant has none, and for smaller images.
    """
    one, two = (np.clip(np.asarray(hu, np.float64) + OFFSET_HU, 0, LARGEST) for hu in (reference, image))
    # The measure knows contrast alone; without the mean, variances lose fewer digits.
    middle = one.mean()
    one, two = one - middle, two - middle
    kept = whole = 0.0
    for scale in range(SCALES, 0, -1):
        window = _gaussian(2**scale + 1)
        if scale < SCALES:
            one, two = (_smooth(side, window)[::2, ::2] for side in (one, two))
        if min(one.shape) < len(window):
            return float("nan")
        gained, present = _information(one, two, window)
        kept, whole = kept + gained, whole + present
    return kept / whole if whole > TINY else float("nan")


def _information(reference: np.ndarray, image: np.ndarray, window: np.ndarray) -> tuple[float, float]:
    """Sum the information that the eye takes from the image and from the reference, at one scale."""
    mean_r, mean_i = _smooth(reference, window), _smooth(image, window)
    variance_r = np.maximum(_smooth(reference * reference, window) - mean_r * mean_r, 0)
    variance_i = np.maximum(_smooth(image * image, window) - mean_i * mean_i, 0)
    covariance = _smooth(reference * image, window) - mean_r * mean_i
    # The image is taken for gain * reference + noise; what cannot be such is noise alone.
    possible = (variance_r >= TINY) & (variance_i >= TINY) & (covariance > 0)
    gain = np.where(possible, covariance / (variance_r + TINY), 0)
    noise = np.maximum(np.where(possible, variance_i - gain * covariance, variance_i), TINY)
    variance_r = np.where(variance_r >= TINY, variance_r, 0)
    gained = np.log1p(gain * gain * variance_r / (noise + EYE_VARIANCE)).sum()
    return float(gained), float(np.log1p(variance_r / EYE_VARIANCE).sum())


def _gaussian(size: int) -> np.ndarray:
    at = np.arange(size) - size // 2
    weights = np.exp(-0.5 * (at / (size / 5)) ** 2)
    return weights / weights.sum()


def _smooth(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Smooth in both directions, where the whole window fits."""
    inner = slice(len(window) // 2, -(len(window) // 2))
    return correlate1d(correlate1d(image, window, axis=1)[:, inner], window, axis=0)[inner]
