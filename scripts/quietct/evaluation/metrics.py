"""How close an image is to its reference, slice by slice.

PSNR and SSIM depend on the grey-value window they are measured in, so every table carries the window with them;
RMSE and bias are plain HU and see everything, also what a window hides. Where the reference is a scan with noise of its
own, no image can reach more than a ceiling; both the ceiling and an RMSE without the reference's noise are given then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from skimage.metrics import structural_similarity

from quietct.ct.split import Split, read_slices, test_slices
from quietct.ct.volume import open_volume, read_info
from quietct.errors import UserError
from quietct.files import written_whole

logger = logging.getLogger(__name__)

METRICS = ("psnr_db", "ssim", "rmse_hu", "bias_hu")
# What the noise of the reference allows; empty where it is unknown or there is none.
REFERENCE_METRICS = ("ceiling_psnr_db", "rmse_corrected_hu")


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
    # With int16 HU all is float32, in which differences up to 4096 have exact squares: half the time of float64.
    low, high = (np.float32(end) for end in window_hu)
    error = np.clip(image, low, high) - np.clip(reference, low, high)
    mean_square = np.square(error).mean(dtype=np.float64) / (high - low) ** 2
    return float(-10.0 * np.log10(mean_square)) if mean_square > 0 else float("inf")


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
    return float(structural_similarity(windowed(image, window_hu), windowed(reference, window_hu), data_range=1.0))


def rmse_hu(image: ArrayLike, reference: ArrayLike) -> float:
    """Root of the mean squared difference, HU, nothing clipped."""
    difference = np.asarray(image, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return float(np.sqrt(np.mean(difference**2)))


def bias_hu(image: ArrayLike, reference: ArrayLike) -> float:
    """Mean of image minus reference, HU, nothing clipped: positive where the image is too bright."""
    return float(np.mean(np.asarray(image, dtype=np.float64) - np.asarray(reference, dtype=np.float64)))


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


def open_alike(*paths: str | Path) -> list[np.ndarray]:
    """Open volumes that must have one shape.

    Parameters
    ----------
    *paths : path
        Volumes; the first sets the shape.

    Returns
    -------
    list of ndarray of int16
        HU (slices, rows, columns), memory-mapped.

    Raises
    ------
    UserError
        If one's shape differs from the first one's.
    """
    volumes = [open_volume(path) for path in paths]
    for path, volume in zip(paths, volumes, strict=True):
        if volume.shape != volumes[0].shape:
            raise UserError(
                f"{path} has the shape {volume.shape} and {paths[0]} has {volumes[0].shape}: they don't belong "
                "together. Delete the older of the two and run again."
            )
    return volumes


def measure_quality(
    clean: str | Path,
    info: str | Path,
    image: str | Path,
    metrics_tsv: str | Path,
    noise: str,
    method: str,
    series: str,
    window_hu: Sequence[float],
    split: Split | None = None,
) -> None:
    """Compare a volume with its target, slice by slice, and write a table.

    Parameters
    ----------
    clean, image : path
        Volumes of equal shape, HU; read one slice at a time. The first is the target, clean or another scan.
    info : path
        JSON of the series, for the slice positions `z_mm`. Where `target` in it tells the noise of the target, the
        last two metrics can be had.
    metrics_tsv : path
        The table to write: noise, method, series, slice, z_mm, the four metrics, ceiling_psnr_db (what a perfect
        denoiser would reach against the noisy target), rmse_corrected_hu (see there), and the window. A slice equal
        to its reference has the PSNR `inf`; the last two metrics are empty where they are unknown.
    noise, method, series : str
        What is compared; copied into every row.
    window_hu : (low, high)
        Window of PSNR and SSIM, HU.
    split : mapping or None
        The config's `split`: only slices that it holds out are measured.

    Raises
    ------
    UserError
        If the shapes differ, the positions don't fit the volume, or the split holds no slice out.
    """
    rows = list(_slice_rows(clean, info, image, window_hu, split))
    table = pd.DataFrame(rows)
    for column, value in enumerate((noise, method, series)):
        table.insert(column, ("noise", "method", "series")[column], value)
    table["window_low_hu"], table["window_high_hu"] = window_hu
    with written_whole(metrics_tsv) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.6g")
    means = table[list(METRICS)].mean()
    logger.info(
        "%s, %s, %s: PSNR %.2f dB, SSIM %.3f, RMSE %.1f HU, bias %+.1f HU (means of %d slices, window %g to %g HU)",
        series, noise, method, *means, len(table), *window_hu,
    )  # fmt: skip


def _slice_rows(
    clean_path: str | Path,
    info_path: str | Path,
    image_path: str | Path,
    window_hu: Sequence[float],
    split: Split | None,
) -> Iterator[dict[str, float]]:
    clean, image = open_alike(clean_path, image_path)
    facts: dict[str, Any] = read_info(info_path)
    positions, target = facts["z_mm"], facts.get("target") or {}
    unknown = [None] * len(positions)
    ceilings, noises = target.get("ceiling_psnr_db", unknown), target.get("noise_hu", unknown)
    if len(positions) != len(clean):
        raise UserError(
            f"{info_path} lists {len(positions)} slice positions and {clean_path} has {len(clean)} slices. "
            "Delete both and run again."
        )
    for index in np.flatnonzero(read_slices(test_slices, info_path, split, len(clean))).tolist():
        error = rmse_hu(image[index], clean[index])
        yield {
            "slice": index,
            "z_mm": positions[index],
            "psnr_db": psnr_db(image[index], clean[index], window_hu),
            "ssim": ssim(image[index], clean[index], window_hu),
            "rmse_hu": error,
            "bias_hu": bias_hu(image[index], clean[index]),
            "ceiling_psnr_db": float("nan") if ceilings[index] is None else ceilings[index],
            "rmse_corrected_hu": rmse_corrected_hu(error, noises[index]),
        }
