"""Scans that come from pictures whose grey scale ends: where it does, and what air and lungs were before."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

from quietct.ct.patches import body_mask
from quietct.ct.volume import Volume

logger = logging.getLogger(__name__)

AIR_HU, LUNG_HU = -1000.0, -850.0
COMPLETE_BELOW_HU = -900.0  # a scan with values this low shows air
COMPLETE_ABOVE_HU = 300.0  # a scan with values this high shows bone
CLIPPED_FRACTION = 0.01  # of the pixels, at the lowest value: air that was clipped, and no image without any air
CLIPPED_BONE_FRACTION = 0.001  # of the pixels, at the highest value
NEAR_HU = 10.0  # interpolation leaves clipped values about the end of the scale


class GreyScale(NamedTuple):
    """Where the grey values of a scan are cut off, HU; None where they are not."""

    low_hu: float | None = None
    high_hu: float | None = None


def grey_scale(volume: Volume | np.ndarray) -> GreyScale:
    """Find out whether a series was clipped, at air or at bone: then many pixels have the very last value.

    Parameters
    ----------
    volume : Volume or ndarray of int (slices, rows, columns)
        HU as they came; resampling would blur the last value.
    """
    low, high = float(volume.min()), float(volume.max())
    air = low >= COMPLETE_BELOW_HU and _fraction(volume, low) >= CLIPPED_FRACTION
    bone = high <= COMPLETE_ABOVE_HU and _fraction(volume, high) >= CLIPPED_BONE_FRACTION
    return GreyScale(low if air else None, high if bone else None)


def _fraction(volume: Volume | np.ndarray, value: float) -> float:
    return sum(np.count_nonzero(hu == value) for hu in volume) / volume.size


def clipped_at_hu(volume: Volume | np.ndarray) -> float | None:
    """Tell where the air of a series is clipped (HU), with a warning; None if it is not.

    Parameters
    ----------
    volume : Volume or ndarray (slices, rows, columns)
        HU.
    """
    low = grey_scale(volume).low_hu
    if low is None:
        return None
    logger.warning(
        "Nothing is below %g HU, so air is clipped: %g HU are assumed outside the body and %g HU inside.",
        low, AIR_HU, LUNG_HU,
    )  # fmt: skip
    return low


def fill_clipped_air(hu: np.ndarray, low_hu: float | None) -> np.ndarray:
    """Give back to clipped air its attenuation, for projections: outside the body that of air, inside that of lung.

    A picture with a soft-tissue window shows air as its lowest value, -160 HU for instance. Taken for that, air takes
    away nearly as much light as water, and simulated noise is far too strong and in the wrong places. How dense lung
    really is matters less: in a chest, -1000 instead of -850 HU changes the noise by 4 %.

    Parameters
    ----------
    hu : ndarray (rows, columns)
        A slice, HU.
    low_hu : float or None
        What air shows, HU; with None nothing is changed.

    Returns
    -------
    ndarray of float32 (rows, columns)
        HU.
    """
    filled = np.asarray(hu, dtype=np.float32).copy()
    if low_hu is None or not np.ptp(filled):
        return filled
    smooth = gaussian_filter(filled, 1)
    body = body_mask(smooth, threshold_otsu(smooth))
    clipped = filled <= low_hu + NEAR_HU
    filled[clipped & ~body] = AIR_HU
    filled[clipped & body] = LUNG_HU
    return filled
