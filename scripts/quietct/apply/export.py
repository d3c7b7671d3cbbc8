"""Weights for people to pass on: with what was measured of them."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pandas as pd

from quietct.errors import UserError
from quietct.methods import split_method
from quietct.nn.weights import load_network, save_network

logger = logging.getLogger(__name__)

MEASURES = ("psnr_db", "ssim", "rmse_hu")


def export_weights(weights: str | Path, summary_tsv: str | Path, exported: str | Path, noise: str, method: str) -> None:
    """Write a trained network again, with its measured quality in the description.

    Parameters
    ----------
    weights : path
        weights.npz of the training.
    summary_tsv : path
        The run's table, from `quietct.evaluation.summary.summarize_quality`.
    exported : path
        The .npz to write: the same network, and `quality` with `method`, `window_hu`, `n_slices`, and psnr_db, ssim and
        rmse_hu of the `denoised` and the `noisy` test slices; None for a value that is no number.
    noise, method : str
        Which row of the table.

    Raises
    ------
    UserError
        If the weights belong to another method or noise, or the table lacks a row.
    """
    network, description = load_network(weights)
    names = (description.get("network"), description.get("variant"), description.get("seed"))
    if names != split_method(method) or description.get("noise") != noise:
        raise UserError(
            f"{weights} was trained as {names[0]}-{names[1]}-seed{names[2]} on noise {description.get('noise')}, "
            f"not as {method} on noise {noise}."
        )
    quality = read_quality(summary_tsv, noise, method)
    save_network(exported, network, {**description, "quality": quality})
    denoised, noisy = quality["denoised"]["psnr_db"], quality["noisy"]["psnr_db"]
    logger.info(
        "%s on noise %s: PSNR %s dB, noisy %s dB (%d slices)", method, noise, denoised, noisy, quality["n_slices"]
    )


def read_quality(summary_tsv: str | Path, noise: str, method: str) -> dict[str, Any]:
    """Read what a run measured of a method, as `export_weights` writes it."""
    table = pd.read_csv(
        summary_tsv,
        sep="\t",
        dtype={"noise": str, "method": str},
        keep_default_na=False,
        na_values={name: [""] for name in MEASURES},
    )
    denoised, noisy = (_row(table, noise, name, summary_tsv) for name in (method, "noisy"))
    return {
        "method": method,
        "window_hu": [float(denoised["window_low_hu"]), float(denoised["window_high_hu"])],
        "n_slices": int(denoised["n_slices"]),
        "denoised": {name: _number(denoised[name]) for name in MEASURES},
        "noisy": {name: _number(noisy[name]) for name in MEASURES},
    }


def _row(table: pd.DataFrame, noise: str, method: str, path: str | Path) -> pd.Series:
    rows = table[(table["noise"] == noise) & (table["method"] == method)]
    if len(rows) != 1:
        raise UserError(f"{path} has {len(rows)} rows of the method {method} on noise {noise}; it must have one.")
    return rows.iloc[0]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
