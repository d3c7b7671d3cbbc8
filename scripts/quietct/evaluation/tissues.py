"""Error and bias in each kind of tissue: a denoiser may be right on average and shift the HU of lungs or nodules.

Tissues are told by the HU of the target, in the body and off their edges, where a pixel is partly one and partly the
other. The target's noise would bias such a choice: of the pixels that noise made bright, more are taken for bright
tissue, and the image seems too dark there. So the target is smoothed first, which leaves little noise to choose by, and
the values that are compared are the unsmoothed ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import binary_erosion, gaussian_filter

from quietct.ct.clipping import GreyScale
from quietct.ct.patches import body_mask

# HU of the smoothed target. Usual ranges of a chest without contrast agent, with gaps between them: air in the bronchi
# is darker than lung; vessels with contrast agent count as bone.
RANGES_HU: dict[str, tuple[float, float]] = {
    "lung": (-950.0, -600.0),
    "soft_tissue": (-150.0, 100.0),
    "bone": (130.0, np.inf),
}
BODY_HU = -500.0
SMOOTHING_PX = 1.5
EDGE_PX = 2  # this many pixels from an edge, partial volume is over
MIN_PIXELS = 5


def tissue_masks(target: np.ndarray, scale: GreyScale | None = None) -> dict[str, np.ndarray]:
    """Find lung, soft tissue and bone in a slice.

    Parameters
    ----------
    target : ndarray (rows, columns)
        HU.
    scale : GreyScale, optional
        Where the scan's grey scale ends: a tissue that it cuts off is none.

    Returns
    -------
    dict of str to ndarray of bool (rows, columns)
        The inner pixels of each tissue.
    """
    low, high = scale or GreyScale()
    smooth = gaussian_filter(target.astype(np.float32), SMOOTHING_PX)
    body = body_mask(smooth, BODY_HU)
    masks = {}
    for tissue, (darkest, brightest) in RANGES_HU.items():
        cut = (low is not None and low > darkest) or (high is not None and high < brightest)
        found = np.zeros(body.shape, bool) if cut else body & (smooth > darkest) & (smooth < brightest)
        masks[tissue] = binary_erosion(found, np.ones((3, 3), bool), EDGE_PX)
    return masks


def nodule_mask(
    shape: tuple[int, ...],
    nodules: pd.DataFrame,
    z_mm: float,
    thickness_mm: float,
    spacing_mm: Sequence[float],
    edge_px: float,
) -> np.ndarray:
    """Mark the nodules in a slice, as spheres of known place and size.

    Parameters
    ----------
    shape : (rows, columns)
    nodules : DataFrame
        Columns row, column (of the centre, pixels), z_mm, diameter_mm.
    z_mm, thickness_mm : float
        Height and thickness of the slice.
    spacing_mm : (row, column)
        Of the pixels.
    edge_px : float
        Positive leaves out that many pixels within the edge, and what the slice shows only partly because of its
        thickness; negative adds as many around it.

    Returns
    -------
    ndarray of bool (rows, columns)
    """
    mask = np.zeros(shape, bool)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for nodule in nodules.itertuples():
        away = abs(nodule.z_mm - z_mm) + np.sign(edge_px) * thickness_mm / 2
        squared = (nodule.diameter_mm / 2) ** 2 - max(away, 0) ** 2
        radius = np.sqrt(max(squared, 0)) - edge_px * max(spacing_mm)
        if squared > 0 and radius > 0:
            down, right = (rows - nodule.row) * spacing_mm[0], (columns - nodule.column) * spacing_mm[1]
            mask |= down**2 + right**2 <= radius**2
    return mask


def slice_tissues(
    target: np.ndarray, scale: GreyScale, info: Mapping[str, Any], index: int, nodules: pd.DataFrame | None = None
) -> dict[str, np.ndarray]:
    """Find all tissues of a slice: nodules where they are known to be, and the others beside them.

    Parameters
    ----------
    target : ndarray (rows, columns)
        The slice, HU.
    scale : GreyScale
        Where the scan's grey scale ends.
    info : mapping
        Facts of the series: z_mm, spacing_mm, slice_thickness_mm.
    index : int
        The slice's number in the series.
    nodules : DataFrame, optional
        See `quietct.ct.nodule_truth.on_pixels`.

    Returns
    -------
    dict of str to ndarray of bool (rows, columns)
        The inner pixels of lung, soft_tissue, bone and nodule.
    """
    masks = tissue_masks(target, scale)
    masks["nodule"] = np.zeros(target.shape, bool)
    if nodules is not None and len(nodules):
        place = info["z_mm"][index], info.get("slice_thickness_mm") or 0.0, info["spacing_mm"]
        # A picture that ends at -160 HU shows nodules of -800 HU as it shows lung.
        low, high = (
            -np.inf if scale.low_hu is None else scale.low_hu,
            np.inf if scale.high_hu is None else scale.high_hu,
        )
        shown = nodules[nodules["hu"].between(low, high, inclusive="neither")]
        masks["nodule"] = nodule_mask(target.shape, shown, *place, EDGE_PX)
        around = nodule_mask(target.shape, nodules, *place, -EDGE_PX)
        for tissue in RANGES_HU:
            masks[tissue] &= ~around
    return masks


def tissue_errors(image: np.ndarray, target: np.ndarray, masks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Measure the error in each tissue.

    Parameters
    ----------
    image, target : ndarray (rows, columns)
        HU.
    masks : mapping of str to ndarray of bool (rows, columns)
        Pixels of each tissue.

    Returns
    -------
    dict of str to float
        `rmse_<tissue>_hu`, the root of the mean squared difference, and `bias_<tissue>_hu`, the mean of image minus
        target, of each tissue with at least 5 pixels.
    """
    errors = {}
    for tissue, mask in masks.items():
        if np.count_nonzero(mask) >= MIN_PIXELS:
            difference = image[mask].astype(np.float64) - target[mask]
            errors[f"rmse_{tissue}_hu"] = float(np.sqrt(np.mean(difference**2)))
            errors[f"bias_{tissue}_hu"] = float(np.mean(difference))
    return errors
