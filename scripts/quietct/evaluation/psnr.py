"""PSNR in a grey-value window, apart from the other measures.

Trainings are watched by it and filters are tuned by it: an edit of another measure trains and tunes nothing again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from quietct.ct.volume import is_failed


def windowed(hu: ArrayLike, window_hu: Sequence[float]) -> np.ndarray:
    """Clip HU to a window and scale it to 0..1.

    Parameters
    ----------
    hu : array
        HU, any shape.
    window_hu : (low, high)
        The window's ends, HU.

    Returns
    -------
    ndarray of float64
        0 at and below `low`, 1 at and above `high`.
    """
    low, high = window_hu
    return (np.clip(np.asarray(hu, dtype=np.float64), low, high) - low) / (high - low)


def psnr_db(image: ArrayLike, reference: ArrayLike, window_hu: Sequence[float]) -> float:
    """Peak signal-to-noise ratio within a window, dB; the peak is the window's width.

    Parameters
    ----------
    image, reference : array
        HU, equal shapes.
    window_hu : (low, high)
        Both are clipped to it, HU.

    Returns
    -------
    float
        10 log10(1 / MSE) of the windowed images; infinite where they are equal.
    """
    if is_failed(np.asarray(image)):
        return float("nan")
    # With int16 HU all is float32, in which differences up to 4096 have exact squares: half the time of float64.
    low, high = (np.float32(end) for end in window_hu)
    error = np.clip(image, low, high) - np.clip(reference, low, high)
    mean_square = np.square(error).mean(dtype=np.float64) / (high - low) ** 2
    return float(-10.0 * np.log10(mean_square)) if mean_square > 0 else float("inf")
