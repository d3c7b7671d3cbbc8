"""Classical denoisers to beat, each with its free parameters tuned on training slices.

Every baseline is a small function from an image in HU to an image in HU. What depends on the noise is given as a
multiple of the noise's standard deviation, estimated anew for each slice, so that one setting serves a whole series.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pywt
from scipy import ndimage
from skimage import restoration

from quietct.ct.split import Split, read_slices, training_slices
from quietct.errors import UserError
from quietct.evaluation.metrics import open_alike, psnr_db
from quietct.files import written_whole
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


def tune_baseline(
    clean: Sequence[str | Path],
    noisy: Sequence[str | Path],
    settings_json: str | Path,
    baseline: str,
    grid: Mapping[str, Sequence[Any]],
    tuning_slices: int,
    window_hu: Sequence[float],
    infos: Sequence[str | Path] | None = None,
    split: Split | None = None,
) -> None:
    """Try every combination of a grid on a few training slices and write the best down.

    Parameters
    ----------
    clean, noisy : sequences of paths
        Volumes of the training series, in the same order; the first are the targets.
    settings_json : path
        The file to write: baseline, settings, tuning_psnr_db, and `tried` with every combination and its PSNR.
    baseline : str
        A key of `BASELINES`.
    grid : mapping of str to list
        Values to try for each parameter.
    tuning_slices : int
        How many slices, spread evenly over all the series together.
    window_hu : (low, high)
        Window of the PSNR that decides, HU. Of equals the combination tried first wins.
    infos : sequence of paths, optional
        JSON of the series, in the same order, for a split.
    split : mapping, optional
        The config's `split`; slices that it holds out are not used.

    Raises
    ------
    UserError
        If the baseline or one of its parameters does not exist, a list is empty, or the split leaves a series no slice.
    """
    if empty := [name for name, values in grid.items() if not values]:
        raise UserError(f"The key baselines: {baseline}: {empty[0]} is an empty list; give at least one value.")
    pairs = spread_slices(clean, noisy, tuning_slices, infos, split)
    tried: list[dict[str, Any]] = []
    for values in itertools.product(*grid.values()):
        settings = dict(zip(grid, values, strict=True))
        denoise = bind(baseline, settings)
        try:
            psnr = float(np.mean([psnr_db(denoise(image), reference, window_hu) for image, reference in pairs]))
        except TypeError as error:
            raise UserError(f"The key baselines: {baseline} can't be run with {settings}: {error}.") from None
        logger.info("%s %s: PSNR %.2f dB", baseline, _readable(settings), psnr)
        tried.append({"settings": settings, "psnr_db": psnr})
    best = max(tried, key=lambda trial: (not np.isnan(trial["psnr_db"]), trial["psnr_db"]))
    logger.info("Best on %d training slices: %s, %.2f dB", len(pairs), _readable(best["settings"]), best["psnr_db"])
    for name in edges(best["settings"], grid):
        logger.warning(
            "%s: the best %s, %s, is at the end of its list %s; a longer list may find a better one.",
            baseline, name, best["settings"][name], list(grid[name]),
        )  # fmt: skip
    record = {
        "baseline": baseline,
        "settings": best["settings"],
        "tuning_psnr_db": best["psnr_db"],
        "window_hu": list(window_hu),
        "tuning_slices": len(pairs),
        "tried": tried,
    }
    with written_whole(settings_json) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n")


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


def spread_slices(
    clean: Sequence[str | Path],
    noisy: Sequence[str | Path],
    count: int,
    infos: Sequence[str | Path] | None = None,
    split: Split | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Take slices spread evenly over several series put end to end.

    Parameters
    ----------
    clean, noisy : sequences of paths
        Volumes, in the same order; the first are the targets.
    count : int
        How many slices; all of them when there are fewer.
    infos : sequence of paths, optional
        JSON of the series, in the same order, for a split.
    split : mapping, optional
        The config's `split`; slices that it holds out are passed over.

    Returns
    -------
    list of (noisy, clean)
        int16 HU (rows, columns).

    Raises
    ------
    UserError
        If the shapes of a pair differ, or the split leaves a series no slice.
    """
    slices: list[tuple[np.ndarray, np.ndarray]] = []
    facts = [None] * len(clean) if infos is None else infos
    for clean_path, noisy_path, info in zip(clean, noisy, facts, strict=True):
        reference, image = open_alike(clean_path, noisy_path)
        allowed = read_slices(training_slices, info, split, len(reference))
        slices += [(image[k], reference[k]) for k in np.flatnonzero(allowed)]
    count = min(count, len(slices))
    # The middles of `count` equal stretches: neither the first nor the last slice, which show little of the chest.
    chosen: Any = ((np.arange(count) + 0.5) * len(slices) / count).astype(int) if count else []
    return [slices[index] for index in chosen]


def edges(settings: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """Name the numeric parameters whose chosen value is the smallest or largest of three or more tried."""
    return [
        name
        for name, values in grid.items()
        if len(values) > 2
        and all(isinstance(value, int | float) for value in values)
        and settings[name] in (min(values), max(values))
    ]


def _readable(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
