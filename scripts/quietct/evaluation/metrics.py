"""How close an image is to its reference: SSIM in a grey-value window, RMSE and bias in HU. PSNR is in `psnr`.

SSIM depends on the window it is measured in; RMSE and bias see everything, also what a window hides.
All are NaN for an image that a method could not compute (`quietct.ct.volume.is_failed`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from skimage.metrics import structural_similarity

from quietct.ct.volume import is_failed
from quietct.evaluation.psnr import windowed


def ssim(image: ArrayLike, reference: ArrayLike, window_hu: Sequence[float]) -> float:
    """Structural similarity within a window: scikit-image's default, a uniform 7 x 7 neighbourhood, data range 1.

    Wang et al., IEEE Trans. Image Process. 13(4), 2004, in the form that ldct-benchmark (Eulig et al., Med. Phys.
    51(12), 2024) reports.

    Parameters
    ----------
    image, reference : array (rows, columns)
        HU, at least 7 x 7.
    window_hu : (low, high)
        Both are clipped to it, HU.

    Returns
    -------
    float
        At most 1, which is equality.
    """
    if is_failed(np.asarray(image)):
        return float("nan")
    # In float32 it takes two thirds of the time, and differs by less than 1e-7.
    one, two = (windowed(hu, window_hu).astype(np.float32) for hu in (image, reference))
    return float(structural_similarity(one, two, data_range=1.0))


def rmse_hu(image: ArrayLike, reference: ArrayLike) -> float:
    """Root of the mean squared difference, HU, nothing clipped."""
    return float(np.sqrt(np.mean(_difference(image, reference) ** 2)))


def bias_hu(image: ArrayLike, reference: ArrayLike) -> float:
    """Mean of image minus reference, HU, nothing clipped: positive where the image is too bright."""
    return float(np.mean(_difference(image, reference)))


def _difference(image: ArrayLike, reference: ArrayLike) -> np.ndarray:
    if is_failed(np.asarray(image)):
        return np.array([np.nan])
    return np.asarray(image, dtype=np.float64) - np.asarray(reference, dtype=np.float64)


def rmse_corrected_hu(rmse_hu: float, noise_hu: float | None) -> float:
    """Estimate the RMSE to the noise-free reference from the one to a noisy reference.

    Errors that are independent of the reference's noise add to it in squares, so that the noise can be subtracted. It
    is right only if the image owes nothing to the reference: input and reference are different scans, and the network
    has not been trained on the slice.

    Parameters
    ----------
    rmse_hu : float
        Root of the mean squared difference to the noisy reference, HU.
    noise_hu : float or None
        Standard deviation of the reference's noise over the same pixels, HU; None if it is unknown.

    Returns
    -------
    float
        HU; 0 if the image is no farther from the reference than its noise, NaN if the noise is unknown.
    """
    return float("nan") if noise_hu is None else float(np.sqrt(max(rmse_hu**2 - noise_hu**2, 0.0)))
