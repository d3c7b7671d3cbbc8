"""Denoise a series with anything that a run has made: a trained network or a tuned classical filter."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from quietct.ct.volume import is_failed, new_volume, open_volume, to_int16
from quietct.evaluation.baselines import load_baseline
from quietct.nn.inference import TiledInference
from quietct.nn.weights import load_network

logger = logging.getLogger(__name__)


@contextmanager
def opened_denoiser(
    path: str | Path, shape: tuple[int, int], threads: int = 1
) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """Read weights.npz or the .json of a tuned baseline as a function from noisy to denoised HU of a slice.

    Of a network whose training diverged, all values are NaN.
    """
    if Path(path).suffix == ".json":
        yield load_baseline(path)
        return
    network, description = load_network(path)
    if "diverged" in description:
        logger.warning("%s: %s", path, description["diverged"])
        yield lambda hu: np.full(hu.shape, np.nan, np.float32)
        return
    with TiledInference(network, *shape, threads=threads) as inference:
        yield lambda hu: inference.denoise_hu(hu, description["normalisation"])


def denoise_series(model: str | Path, noisy: str | Path, denoised: str | Path, threads: int = 1) -> None:
    """Denoise a volume slice by slice.

    Parameters
    ----------
    model : path
        weights.npz of a trained network, or the .json of a tuned baseline.
    noisy : path
        int16 HU volume (slices, rows, columns).
    denoised : path
        The volume to write, of the same shape; pixels that a diverged network gave no number for have `NO_VALUE`.
    threads : int
        Workers of a network; does not change the result.

    Raises
    ------
    UserError
        If a file is absent or is none of ours.
    """
    volume = open_volume(noisy)
    failed = 0
    with (
        threadpool_limits(1, "blas"),
        opened_denoiser(model, volume.shape[1:], threads) as denoiser,
        new_volume(denoised, volume.shape) as result,
    ):
        for k in tqdm(range(len(volume)), desc="Denoising", unit="slice", disable=not sys.stderr.isatty(), leave=False):
            hu = to_int16(denoiser(volume[k]))
            failed += is_failed(hu)
            result[k] = hu
    if failed:
        logger.warning(
            "%s gave no numbers in %d of %d slices; they count as failed. Has the training diverged?",
            model, failed, len(volume),
        )  # fmt: skip
    logger.info("Denoised %d slices with %s.", len(volume), model)
