"""Add noise to a volume, by one of the models in `MODELS`."""

from __future__ import annotations

import logging
import os
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from quietct.ct.dose_reduction import reduced_dose
from quietct.ct.volume import Volume, new_volume, open_volume, to_int16
from quietct.errors import UserError
from quietct.orphans import end_with

logger = logging.getLogger(__name__)

# Takes the number of a slice and the slice, float32 HU, and gives its noisy twin. It can be pickled, for slices are
# shared out among processes.
NoisySlice = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Scan:
    """What a model may ask about the volume that it shall make noisy."""

    volume: Volume  # int16 HU (slices, rows, columns)
    window_hu: Sequence[float]
    stream: tuple[int, int]  # seed and a number of the series: where its random streams begin
    info_path: str | Path | None
    calibration_path: str | Path | None


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


@dataclass(frozen=True)
class Gaussian:
    """The model `gaussian` on one volume: see `gaussian`."""

    settings: dict[str, Any]
    window_hu: Sequence[float]
    stream: tuple[int, int]

    def __call__(self, k: int, hu: np.ndarray) -> np.ndarray:
        """Add the noise of slice `k`."""
        return gaussian(hu, np.random.default_rng([*self.stream, k]), self.settings, self.window_hu)


def prepare_gaussian(scan: Scan, settings: dict[str, Any]) -> NoisySlice:
    """Set up the model `gaussian`."""
    return Gaussian(settings, scan.window_hu, scan.stream)


def prepare_low_dose(scan: Scan, settings: dict[str, Any]) -> NoisySlice:
    """Set up the model `low_dose`: see `dose_reduction`."""
    if scan.info_path is None:
        raise UserError("The noise model low_dose needs the facts of the series beside its volume.")
    return reduced_dose(scan.volume, settings, scan.stream, scan.info_path, scan.calibration_path)


# By name in the config. `measured` is none: the workflow takes the scan itself.
MODELS: dict[str, Callable[[Scan, dict[str, Any]], NoisySlice]] = {
    "gaussian": prepare_gaussian,
    "low_dose": prepare_low_dose,
}


def add_noise(
    volume_path: str | Path,
    noisy_path: str | Path,
    model: str,
    settings: dict[str, Any],
    window_hu: Sequence[float],
    series: str,
    info_path: str | Path | None = None,
    calibration_path: str | Path | None = None,
    threads: int = 1,
) -> None:
    """Write the noisy twin of a volume, slice by slice.

    The noise of a slice depends on the seed, the name of the series and the number of the slice; that of the model
    `low_dose` on the slice itself too, and where slices overlap on the heights of all. It never depends on `threads`.

    Parameters
    ----------
    volume_path, noisy_path : path
        The volume, and where the noisy one goes; both int16 HU (slices, rows, columns).
    model : str
        A name in `MODELS`.
    settings : dict
        What the model takes, and `seed`.
    window_hu : pair of float
        Lower and upper end of the grey window, HU.
    series : str
        Name of the series, so that each has a random stream of its own.
    info_path : path, optional
        Facts of the series, which `low_dose` needs.
    calibration_path : path, optional
        JSON of the calibration that the settings of `low_dose` name.
    threads : int
        Processes that share out the slices.

    Raises
    ------
    UserError
        If the model is unknown, its settings make no sense, or a process is killed.
    """
    if model == "measured":
        raise UserError("The noise model `measured` puts no noise on a scan: the scan itself is the noisy image.")
    if model not in MODELS:
        raise UserError(f"The noise setting `model` is {model!r}; it must be one of {', '.join(MODELS)}.")
    seed = settings.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"The noise setting `seed` is {seed!r}; it must be a whole number of 0 or more.")
    volume = open_volume(volume_path)
    stream = (seed, zlib.crc32(series.encode()))
    noise = MODELS[model](Scan(volume, window_hu, stream, info_path, calibration_path), settings)
    slices = noisy_slices(noise, volume_path, len(volume), threads)
    with new_volume(noisy_path, volume.shape) as noisy:
        progress = tqdm(slices, "Adding noise", len(volume), unit="slice", disable=not sys.stderr.isatty(), leave=False)
        for k, image in enumerate(progress):
            noisy[k] = image
    logger.info("%s: %s noise on %d slices", series, model, len(volume))


def noisy_slices(noise: NoisySlice, volume_path: str | Path, slices: int, threads: int) -> Iterator[np.ndarray]:
    """Make all slices of a volume noisy, in `threads` processes, and give them in order as int16 HU.

    Raises
    ------
    UserError
        If a process is killed.
    """
    task = partial(_noisy_slice, noise, volume_path)
    if min(threads, slices) < 2:
        yield from map(task, range(slices))
        return
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    try:
        with ProcessPoolExecutor(min(threads, slices), context, end_with, (os.getpid(),)) as pool:
            # Few at a time, so that finished slices do not pile up where the disk is slow.
            ahead = deque(pool.submit(task, k) for k in range(min(2 * threads, slices)))
            for k in range(len(ahead), slices + len(ahead)):
                yield ahead.popleft().result()
                if k < slices:
                    ahead.append(pool.submit(task, k))
    except BrokenProcessPool:
        raise UserError(
            "A process that added noise was killed, perhaps for want of memory. Start again, with fewer threads."
        ) from None


def _noisy_slice(noise: NoisySlice, volume_path: str | Path, k: int) -> np.ndarray:
    return to_int16(noise(k, open_volume(volume_path)[k].astype(np.float32)))
