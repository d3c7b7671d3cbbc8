"""Cut pairs of noisy patches and patches of the target out of a series."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from quietct.ct.split import Split, read_slices, training_slices, warn_of_overlap
from quietct.ct.volume import new_volume, open_volume, read_info
from quietct.errors import UserError

logger = logging.getLogger(__name__)

LAYOUTS = ("quadrants", "grid", "random")


def body_mask(hu: np.ndarray, threshold_hu: float) -> np.ndarray:
    """Find the body: the largest connected region above a threshold, with everything it encloses, so with the lungs.

    Parameters
    ----------
    hu : ndarray (rows, columns)
        A slice in HU.
    threshold_hu : float
        Between air and tissue, -500 for instance.

    Returns
    -------
    ndarray of bool (rows, columns)
        True inside the body; all False if nothing is above the threshold.
    """
    labels, found = ndimage.label(hu > threshold_hu)
    if not found:
        return np.zeros(hu.shape, bool)
    body = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    outside, _ = ndimage.label(~body)
    border = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    return ~np.isin(outside, border[border > 0])


def body_fractions(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Fraction of body in the patch at every possible top-left corner, by a summed-area table.

    Returns
    -------
    ndarray of float (rows - height + 1, columns - width + 1)
    """
    total = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    total[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    counts = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    return counts / (height * width)


def patch_shape(shape: tuple[int, int], settings: dict[str, Any]) -> tuple[int, int]:
    """Height and width of the patches of a slice.

    Raises
    ------
    UserError
        If the layout is unknown or the patches do not fit into the slice.
    """
    layout = settings.get("layout")
    if layout not in LAYOUTS:
        raise UserError(f"`patches: layout` is {layout!r}; it must be one of {', '.join(LAYOUTS)}.")
    if layout == "quadrants":
        return shape[0] // 2, shape[1] // 2
    size = _whole(settings, "size")
    if size > min(shape):
        raise UserError(f"`patches: size` is {size}, but the slices have {shape[0]} x {shape[1]} pixels.")
    return size, size


def patch_corners(hu: np.ndarray, settings: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Choose the patches of one slice.

    Parameters
    ----------
    hu : ndarray (rows, columns)
        The slice of the target in HU.
    settings : dict
        `layout`: `quadrants` are the four quarters; `grid` covers the slice with patches of `size` every `stride`
        pixels, the last ones shifted in at the border; `random` takes `per_slice` patches of `size` anywhere.
        Only patches with at least `min_body_fraction` of body, told by `body_threshold_hu`, are taken.
    rng : Generator
        The slice's random stream, for `random`.

    Returns
    -------
    ndarray of int (n, 2)
        Top row and left column of each patch; none if the slice shows too little body.
    """
    rows, columns = hu.shape
    height, width = patch_shape((rows, columns), settings)
    least = float(settings.get("min_body_fraction", 0))
    if least > 0:
        mask = body_mask(hu, float(settings.get("body_threshold_hu", -500)))
        allowed = body_fractions(mask, height, width) >= least
    else:
        allowed = np.ones((rows - height + 1, columns - width + 1), bool)
    if settings["layout"] == "random":
        corners = np.argwhere(allowed)
        count = _whole(settings, "per_slice")
        if not len(corners):
            return corners
        # Without repetition as long as there are places enough.
        return corners[rng.choice(len(corners), count, replace=count > len(corners))]
    if settings["layout"] == "grid":
        stride = _whole(settings, "stride")
        starts = [_starts(rows, height, stride), _starts(columns, width, stride)]
    else:
        starts = [np.array([0, rows - height]), np.array([0, columns - width])]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)
    return corners[allowed[corners[:, 0], corners[:, 1]]]


def _starts(length: int, size: int, stride: int) -> np.ndarray:
    return np.unique(np.append(np.arange(0, length - size + 1, stride), length - size))


def _whole(settings: dict[str, Any], key: str) -> int:
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"`patches: {key}` is {value!r}; it must be a whole number of 1 or more.")
    return value


def extract_patches(
    clean_path: str | Path,
    noisy_path: str | Path,
    patches_path: str | Path,
    settings: dict[str, Any],
    series: str,
    info_path: str | Path | None = None,
    split: Split | None = None,
) -> None:
    """Cut the same patches out of a noisy volume and its target.

    Parameters
    ----------
    clean_path, noisy_path : path
        Volumes, int16 HU (slices, rows, columns); the first is the target, clean or another scan.
    patches_path : path
        Where the pairs go: int16 HU (n, 2, height, width), first the noisy patch, then the target's.
    settings : dict
        See `patch_corners`; `seed` for `random`.
    series : str
        Name of the series, part of the seed.
    info_path : path or None
        JSON of the series, for a split.
    split : mapping or None
        The config's `split`: patches come from slices that are not held out. They are the same as without a split.

    Raises
    ------
    UserError
        If the settings make no sense, the volumes differ in shape, or not one patch can be had.
    """
    clean, noisy = open_volume(clean_path), open_volume(noisy_path)
    if clean.shape != noisy.shape:
        raise UserError(f"{clean_path} has the shape {clean.shape}, but {noisy_path} has {noisy.shape}.")
    # The last number keeps this stream apart from that of white noise, which may have the same seed.
    seed, name = int(settings.get("seed", 0)), zlib.crc32(series.encode())
    slices = np.flatnonzero(read_slices(training_slices, info_path, split, len(clean))).tolist()
    if split and info_path:
        warn_of_overlap(read_info(info_path), split, series)
    found = {k: patch_corners(clean[k], settings, np.random.default_rng([seed, name, k, 1])) for k in slices}
    corners = {k: chosen for k, chosen in found.items() if len(chosen)}
    count = sum(map(len, corners.values()))
    if not count:
        raise UserError(
            f"Series {series} gives no patches: no slice shows body enough. "
            "Lower `patches: min_body_fraction` or `patches: body_threshold_hu`."
        )
    height, width = patch_shape(clean.shape[1:], settings)
    with new_volume(patches_path, (count, 2, height, width)) as patches:
        n = 0
        for k, chosen in corners.items():
            pair = np.stack([noisy[k], clean[k]])
            for row, column in chosen:
                patches[n] = pair[:, row : row + height, column : column + width]
                n += 1
    logger.info("%s: %d pairs of %d x %d pixels from %d slices", series, count, height, width, len(slices))
