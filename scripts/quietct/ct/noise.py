"""Add noise to a clean volume, by one of the models in `MODELS`."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quietct.ct.volume import new_volume, open_volume, to_int16
from quietct.errors import UserError

logger = logging.getLogger(__name__)

# A model gets a slice (float32 HU), a random generator of its own, its settings and the grey window, and returns the
# noisy slice in HU.
Model = Callable[[np.ndarray, np.random.Generator, dict[str, Any], Sequence[float]], np.ndarray]


def gaussian(
    hu: np.ndarray, rng: np.random.Generator, settings: dict[str, Any], window_hu: Sequence[float]
) -> np.ndarray:
    """Add white Gaussian noise whose standard deviation is a fraction of the slice's maximum, as the article does.

    Parameters
    ----------
    hu : ndarray of float32 (rows, columns)
        The clean slice in HU.
    rng : Generator
        The slice's random stream.
    settings : dict
        `fraction`; and `scale`, on which the maximum is taken: `grey` is the window's scale from 0 to 1, so that
        sigma = fraction x max(grey) x width of the window, `hu` is HU itself, sigma = fraction x max(HU), and 0 for a
        slice without any positive value.
    window_hu : pair of float
        Lower and upper end of the window, HU.

    Returns
    -------
    ndarray of float32 (rows, columns)
        The noisy slice in HU.

    Raises
    ------
    UserError
        If the fraction is negative or no number, or the scale is unknown.
    """
    fraction, scale = settings.get("fraction"), settings.get("scale", "grey")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < np.inf:
        raise UserError(f"The noise setting `fraction` is {fraction!r}; it must be a number of 0 or more.")
    low, high = window_hu
    if scale == "grey":
        sigma = fraction * float(np.clip((hu.max() - low) / (high - low), 0, 1)) * (high - low)
    elif scale == "hu":
        sigma = fraction * max(float(hu.max()), 0.0)
    else:
        raise UserError(f"The noise setting `scale` is {scale!r}; it must be grey or hu.")
    return hu + np.float32(sigma) * rng.standard_normal(hu.shape, dtype=np.float32)


MODELS: dict[str, Model] = {"gaussian": gaussian}


def add_noise(
    volume_path: str | Path,
    noisy_path: str | Path,
    model: str,
    settings: dict[str, Any],
    window_hu: Sequence[float],
    series: str,
) -> None:
    """Write the noisy twin of a volume, slice by slice.

    The noise of a slice depends on the seed, the name of the series and the number of the slice alone.

    Parameters
    ----------
    volume_path, noisy_path : path
        The clean volume, and where the noisy one goes; both int16 HU (slices, rows, columns).
    model : str
        A name in `MODELS`.
    settings : dict
        What the model takes, and `seed`.
    window_hu : pair of float
        Lower and upper end of the grey window, HU.
    series : str
        Name of the series, so that each has a random stream of its own.

    Raises
    ------
    UserError
        If the model is unknown or its settings make no sense.
    """
    if model not in MODELS:
        raise UserError(f"The noise setting `model` is {model!r}; it must be one of {', '.join(MODELS)}.")
    clean = open_volume(volume_path)
    name = zlib.crc32(series.encode())
    with new_volume(noisy_path, clean.shape) as noisy:
        for k, hu in enumerate(clean):
            rng = np.random.default_rng([int(settings.get("seed", 0)), name, k])
            noisy[k] = to_int16(MODELS[model](hu.astype(np.float32), rng, settings, window_hu))
    logger.info("%s: %s noise on %d slices", series, model, len(clean))
