"""What a network was trained on, in numbers that another series can be compared with.

Nothing here tells a patient or a series: no UID, no description, no date.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pywt

from quietct.ct.volume import Volume
from quietct.spread import spread_over

# Of each training series, patches with about so many pixels are looked at.
SAMPLED_PIXELS = 2_000_000
HU_QUANTILES = (0.001, 0.01, 0.5, 0.99, 0.999)
UPPER_QUARTILE = 0.6744897501960817  # of the standard normal distribution
TISSUE_HU = -300.0  # above it is tissue, below it lung and air
LUNG_HU = (-950.0, -500.0)
BLOCK = 4  # pixels; the mean of a block has a quarter of the noise and still shows lung as lung
LEAST_COEFFICIENTS = 100
HU_VALUES = 1 << 16  # that an int16 can have
ROUNDING_HU = 0.01  # smaller coefficients are zeros but for rounding; whole numbers in HU have none between


def training_facts(infos: Sequence[Mapping[str, Any]], patches: Sequence[Volume | np.ndarray]) -> dict[str, Any]:
    """Describe the training data of a network.

    Parameters
    ----------
    infos : sequence of mapping
        Facts of the training series, as `quietct.ct.dicom.convert.series_info` gives them; may be empty.
    patches : sequence of Volume or ndarray
        Of each series its patches: int16 HU (n, 2, rows, columns), first the noisy one.

    Returns
    -------
    dict
        JSON values. Of the patches: `series`, `patches` (counts), `patch_px`, `pixels`, `noise_hu` and `lung_fraction`
        (lowest and highest of the series, see `noise_level` and `lung_fraction`; None where nothing can be measured),
        `hu_quantiles` (quantile -> HU of the noisy patches). Of the headers, what they say: `spacing_mm`,
        `slice_thickness_mm`, `exposure_mas` (lowest and highest), `kvp`, `kernels`, `scanners` (all that occur).
    """
    counts = np.zeros(HU_VALUES, np.int64)  # of each HU, from the lowest int16 on
    noise, lung = [], []
    for one in patches:
        sample = _sampled(one)
        counts += np.bincount(sample.ravel().astype(np.int32) + HU_VALUES // 2, minlength=HU_VALUES)
        noise.append(noise_level(sample))
        lung.append(lung_fraction(sample))
    quantiles = [round(value, 1) for value in _quantiles(counts, HU_QUANTILES)]
    return {
        "series": len(patches),
        "patches": sum(len(one) for one in patches),
        "patch_px": list(patches[0].shape[2:]),
        "pixels": sum(len(one) * int(np.prod(one.shape[2:])) for one in patches),
        "noise_hu": _range(noise, 2),
        "lung_fraction": _range(lung, 3),
        "hu_quantiles": {str(q): value for q, value in zip(HU_QUANTILES, quantiles, strict=True)},
        "spacing_mm": _range([side for info in infos for side in info.get("spacing_mm") or ()], 4),
        "slice_thickness_mm": _range([info.get("slice_thickness_mm") for info in infos], 4),
        "exposure_mas": _range([info.get("exposure_mas") for info in infos], 2),
        "kvp": _all(info.get("kvp") for info in infos),
        "kernels": _all(info.get("kernel") for info in infos),
        "scanners": _all(" ".join(filter(None, (info.get("manufacturer"), info.get("model")))) for info in infos),
    }


def noise_level(images: Iterable[np.ndarray]) -> float | None:
    """Estimate the noise in tissue, to compare images with one another.

    The median absolute deviation of the finest diagonal wavelet coefficients (Donoho and Johnstone, Biometrika 81(3),
    1994) where the image is tissue. Lungs are left out because their vessels are as fine as the noise, and
    coefficients of zero because padding and clipped values have no noise. Of white noise it is the standard deviation.
    Smooth noise of the same standard deviation gives less: a soft kernel lowers it, as small pixels do.

    Parameters
    ----------
    images : iterable of ndarray (rows, columns)
        HU; slices or patches, all taken together.

    Returns
    -------
    float or None
        HU; None where there is no tissue.
    """
    sizes = []
    for image in images:
        mean, (_, _, diagonal) = pywt.dwt2(np.asarray(image, np.float32), "db2")
        # The scaling filter has the sum 2 in two dimensions.
        sizes.append(np.abs(diagonal[(np.abs(diagonal) > ROUNDING_HU) & (mean / 2 > TISSUE_HU)]))
    together = np.concatenate(sizes) if sizes else np.empty(0)
    return float(np.median(together) / UPPER_QUARTILE) if together.size >= LEAST_COEFFICIENTS else None


def lung_fraction(images: Iterable[np.ndarray]) -> float | None:
    """Estimate how much of the body has the density of lung, from the means of small blocks of pixels.

    Bowel gas and the blocks at the skin count as lung too, a few per cent.

    Parameters
    ----------
    images : iterable of ndarray (rows, columns)
        HU; slices or patches, all taken together.

    Returns
    -------
    float or None
        0 to 1; None where there is only air.
    """
    lung = body = 0
    for image in images:
        rows, columns = (side // BLOCK for side in image.shape)
        blocks = image[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
        means = blocks.mean(axis=(1, 3), dtype=np.float64)
        body += int(np.count_nonzero(means > LUNG_HU[0]))
        lung += int(np.count_nonzero((means > LUNG_HU[0]) & (means < LUNG_HU[1])))
    return lung / body if body else None


def _sampled(patches: Volume | np.ndarray) -> np.ndarray:
    """Take the noisy one of some patches, spread over all of them."""
    most = max(SAMPLED_PIXELS // int(np.prod(patches.shape[2:])), 8)
    return np.stack([patches[k][0] for k in spread_over(range(len(patches)), most)])


def _quantiles(counts: np.ndarray, shares: Sequence[float]) -> list[float]:
    """Give quantiles of int16 values from how often each occurs, as np.quantile would of the values themselves."""
    upto = np.cumsum(counts)
    found = []
    for share in shares:
        at = share * (int(upto[-1]) - 1)
        below, above = (
            int(np.searchsorted(upto, rank, side="right")) - HU_VALUES // 2 for rank in (int(at), math.ceil(at))
        )
        found.append(below + (above - below) * (at - int(at)))
    return found


def _range(values: Iterable[float | None], digits: int) -> list[float] | None:
    known = [value for value in values if value is not None]
    return [round(float(min(known)), digits), round(float(max(known)), digits)] if known else None


def _all(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value})
