"""How close an image is to its reference, slice by slice.

PSNR and SSIM depend on the grey-value window they are measured in, so every table carries the window with them;
RMSE and bias are plain HU and see everything, also what a window hides.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from skimage.metrics import structural_similarity

from quietct.ct.volume import open_volume, read_info
from quietct.errors import UserError
from quietct.files import written_whole

logger = logging.getLogger(__name__)

METRICS = ("psnr_db", "ssim", "rmse_hu", "bias_hu")


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
) -> None:
    """Compare a volume with its clean one, slice by slice, and write a table.

    Parameters
    ----------
    clean, image : path
        Volumes of equal shape, HU; read one slice at a time.
    info : path
        JSON of the series, for the slice positions `z_mm`.
    metrics_tsv : path
        The table to write: noise, method, series, slice, z_mm, the four metrics and the window. A slice equal to its
        reference has the PSNR `inf`.
    noise, method, series : str
        What is compared; copied into every row.
    window_hu : (low, high)
        Window of PSNR and SSIM, HU.

    Raises
    ------
    UserError
        If the shapes differ or the positions don't fit the volume.
    """
    rows = list(_slice_rows(clean, info, image, window_hu))
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
    clean_path: str | Path, info_path: str | Path, image_path: str | Path, window_hu: Sequence[float]
) -> Iterator[dict[str, float]]:
    clean, image = open_alike(clean_path, image_path)
    positions = read_info(info_path)["z_mm"]
    if len(positions) != len(clean):
        raise UserError(
            f"{info_path} lists {len(positions)} slice positions and {clean_path} has {len(clean)} slices. "
            "Delete both and run again."
        )
    for index, z_mm in enumerate(positions):
        yield {
            "slice": index,
            "z_mm": z_mm,
            "psnr_db": psnr_db(image[index], clean[index], window_hu),
            "ssim": ssim(image[index], clean[index], window_hu),
            "rmse_hu": rmse_hu(image[index], clean[index]),
            "bias_hu": bias_hu(image[index], clean[index]),
        }
