"""Classical denoisers to beat; `tuning` chooses their free parameters.

Every baseline is a small function from an image in HU to an image in HU. What depends on the noise is given as a
multiple of the noise's standard deviation, estimated anew for each slice, so that one setting serves a whole series.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pywt
from scipy import ndimage
from skimage import restoration

from quietct.errors import UserError
from quietct.methods import missing_sentence

logger = logging.getLogger(__name__)

# Of the standard normal distribution: half of all values lie within it.
UPPER_QUARTILE = 0.6744897501960817
ROUNDING_HU = 1e-6  # a wavelet coefficient below it is a rounding error
CORRELATED = 1.5  # ratio of two scales, which anatomy alone keeps below it

Denoiser = Callable[[np.ndarray], np.ndarray]


def noise_sigma(image: np.ndarray) -> float:
    """Estimate the standard deviation of the noise in a slice.

    The median absolute deviation of the finest diagonal wavelet coefficients (Donoho and Johnstone, Biometrika 81(3),
    1994). A soft reconstruction kernel leaves little of CT noise at that scale; where the next one has clearly more, it
    counts. White noise is the same at both. Constant areas, as outside the field of view, are left out.

    Parameters
    ----------
    image : ndarray (rows, columns)
        HU.

    Returns
    -------
    float
        HU; 0 for a constant image.
    """
    _, *scales = pywt.wavedec2(np.asarray(image, np.float64), "db2", level=2)
    medians = []
    for _, _, diagonal in scales:
        sizes = np.abs(diagonal)
        medians.append(float(np.median(sizes[sizes > ROUNDING_HU])) if sizes.max() > ROUNDING_HU else 0.0)
    next_one, finest = medians
    return (next_one if next_one > CORRELATED * finest else finest) / UPPER_QUARTILE


def gaussian(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Smooth with a Gaussian of standard deviation `sigma_px`, pixels: the linear filter every other one must beat."""
    return ndimage.gaussian_filter(image, sigma_px)


def median(image: np.ndarray, size_px: int) -> np.ndarray:
    """Take the median of a square of `size_px` pixels (Tukey, Exploratory Data Analysis, 1977)."""
    return ndimage.median_filter(image, size=size_px)


def bilateral(image: np.ndarray, sigma_px: float, range_factor: float) -> np.ndarray:
    """Average near pixels of like value (Tomasi and Manduchi, ICCV 1998).

    Parameters
    ----------
    image : ndarray of float32 (rows, columns)
        HU.
    sigma_px : float
        Standard deviation of the weight over distance, pixels.
    range_factor : float
        Standard deviation of the weight over grey value, in units of the noise.
    """
    sigma = noise_sigma(image)
    if sigma == 0:
        return image
    # Written out, because scikit-image 0.26 lays the weights over distance askew, which costs 2.5 dB.
    rows, columns = image.shape
    radius = round(2.5 * sigma_px)
    padded = np.pad(image, radius, mode="symmetric")
    weighted_sum, weight_sum = np.zeros_like(image), np.zeros_like(image)
    for row, column in itertools.product(range(2 * radius + 1), repeat=2):
        neighbour = padded[row : row + rows, column : column + columns]
        distance = ((row - radius) ** 2 + (column - radius) ** 2) / sigma_px**2
        weight = np.exp(-0.5 * (((neighbour - image) / (range_factor * sigma)) ** 2 + distance))
        weighted_sum += weight * neighbour
        weight_sum += weight
    return weighted_sum / weight_sum


def nl_means(image: np.ndarray, patch_px: int, distance_px: int, h_factor: float) -> np.ndarray:
    """Average pixels whose neighbourhoods look alike (Buades, Coll and Morel, CVPR 2005).

    The fast form of Darbon et al. (ISBI 2008), with the distance that noise alone causes taken off.

    Parameters
    ----------
    image : ndarray of float32 (rows, columns)
        HU.
    patch_px, distance_px : int
        Side of the compared patches and the farthest offset searched, pixels.
    h_factor : float
        Decay of the weights, in units of the noise.
    """
    sigma = noise_sigma(image)
    if sigma == 0:
        return image
    return restoration.denoise_nl_means(
        image, patch_size=patch_px, patch_distance=distance_px, h=h_factor * sigma, sigma=sigma, fast_mode=True
    )


def tv(image: np.ndarray, weight_factor: float) -> np.ndarray:
    """Minimise total variation plus the squared distance (Rudin, Osher and Fatemi 1992; Chambolle 2004).

    Parameters
    ----------
    image : ndarray of float32 (rows, columns)
        HU.
    weight_factor : float
        Weight of the total variation, in units of the noise; more is smoother.
    """
    sigma = noise_sigma(image)
    if sigma == 0:
        return image
    # The library's own stopping rule (2e-4) gives up early and loses up to 1 dB.
    return restoration.denoise_tv_chambolle(image, weight=weight_factor * sigma, eps=1e-5)


def wavelet(image: np.ndarray, threshold_factor: float, shifts: int = 4, name: str = "db1") -> np.ndarray:
    """Set small wavelet coefficients to zero (Donoho and Johnstone, Biometrika 81(3), 1994).

    Averaged over shifted grids (Coifman and Donoho 1995, "cycle spinning"), without which the wavelets' grid shows.

    Parameters
    ----------
    image : ndarray of float32 (rows, columns)
        HU.
    threshold_factor : float
        Coefficients below it, in units of the noise, are set to zero; more is smoother.
    shifts : int
        Shifts along each axis, so that the work grows with its square.
    name : str
        An orthogonal wavelet of PyWavelets; db1 is Haar's.
    """
    sigma = noise_sigma(image)
    if sigma == 0:
        return image
    # VisuShrink thresholds at sigma sqrt(2 ln n); we choose the threshold, so its sigma follows.
    visu_sigma = threshold_factor * sigma / math.sqrt(2 * math.log(image.size))
    total = np.zeros_like(image)
    # Steps of 3 pixels meet odd and even positions at every scale sooner than steps of 1.
    for shift in itertools.product(range(0, 3 * shifts, 3), repeat=2):
        kept = restoration.denoise_wavelet(
            np.roll(image, shift, axis=(0, 1)),
            sigma=visu_sigma,
            wavelet=name,
            mode="hard",
            method="VisuShrink",
            rescale_sigma=False,
        )
        total += np.roll(kept, (-shift[0], -shift[1]), axis=(0, 1))
    return total / shifts**2


def bm3d(image: np.ndarray, sigma_factor: float) -> np.ndarray:
    """Filter groups of like patches together (Dabov et al., IEEE Trans. Image Process. 16(8), 2007).

    By the authors' package `bm3d`, which is free for non-commercial use only and so is not installed with quietct.

    Parameters
    ----------
    image : ndarray of float32 (rows, columns)
        HU.
    sigma_factor : float
        Standard deviation that both stages filter for, in units of the noise; more is smoother.

    Raises
    ------
    UserError
        If the package is not installed.
    """
    try:
        from bm3d import BM3DProfile
        from bm3d import bm3d as denoise
    except ImportError:
        raise UserError(missing_sentence("bm3d")) from None
    sigma = noise_sigma(image)
    if sigma == 0:
        return image
    profile = BM3DProfile()
    profile.num_threads = 1  # with more, the last bits differ from run to run
    # It is made for grey values from 0 to 1.
    low, width = float(image.min()), float(np.ptp(image))
    denoised = denoise((image - low) / width, sigma_factor * sigma / width, profile)
    return (denoised * width + low).astype(image.dtype)


BASELINES: dict[str, Callable[..., np.ndarray]] = {
    "gaussian": gaussian,
    "median": median,
    "bilateral": bilateral,
    "nl_means": nl_means,
    "tv": tv,
    "wavelet": wavelet,
    "bm3d": bm3d,
}


def bind(baseline: str, settings: Mapping[str, Any]) -> Denoiser:
    """Fix a baseline's parameters.

    Parameters
    ----------
    baseline : str
        A key of `BASELINES`.
    settings : mapping
        Its parameters.

    Returns
    -------
    callable
        From an image (rows, columns) in HU of any type to float32 HU. It can be pickled.

    Raises
    ------
    UserError
        If there is no such baseline.
    """
    if baseline not in BASELINES:
        raise UserError(f"The key baselines: there is no {baseline!r}; choose among {', '.join(BASELINES)}.")
    return functools.partial(_apply, baseline, dict(settings))


def _apply(baseline: str, settings: dict[str, Any], hu: np.ndarray) -> np.ndarray:
    image = np.ascontiguousarray(hu, dtype=np.float32)
    return np.asarray(BASELINES[baseline](image, **settings), dtype=np.float32)


def load_baseline(settings_json: str | Path) -> Denoiser:
    """Read what `tune_baseline` wrote and give the tuned denoiser.

    Parameters
    ----------
    settings_json : path
        A file of `tune_baseline`.

    Returns
    -------
    callable
        From an image (rows, columns) in HU to float32 HU.

    Raises
    ------
    UserError
        If the file is none of `tune_baseline`'s.
    """
    try:
        record = json.loads(Path(settings_json).read_text())
        return bind(record["baseline"], record["settings"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{settings_json} holds no tuned baseline ({error!r}). Delete it and run again.") from None
