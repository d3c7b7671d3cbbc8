"""Slice tables of made-up methods, as `measure_quality` writes them."""

from __future__ import annotations

import numpy as np
import pandas as pd


def slice_table(values, noise="weak", measures=("psnr_db", "rmse_hu"), n_series=1):
    """Join the slice tables of methods.

    Parameters
    ----------
    values : mapping
        PSNR of the slices by method (`<network>-<variant>-seed<k>`, a baseline or noisy); the RMSE is 60 less it.
    """
    parts = []
    for method, psnr in values.items():
        psnr = np.asarray(psnr, dtype=float)
        columns = {"psnr_db": psnr, "rmse_hu": 60 - psnr, "ssim": psnr / 100, "vif": psnr / 50}
        place = np.arange(len(psnr))
        parts.append(
            pd.DataFrame(
                {
                    "noise": noise,
                    "method": method,
                    "series": [f"s{k % n_series}" for k in place],
                    "slice": place // n_series,
                    "z_mm": place * 1.0,
                    **{name: columns[name] for name in measures},
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def trainings(means, n_seeds=5, n_slices=12, seed_sd=0.05, slice_sd=0.5, rest_sd=0.02, network="net", rng_seed=1):
    """Draw the PSNR of trained variants of given means: what slices are like is common to all variants."""
    rng = np.random.default_rng(rng_seed)
    slices = slice_sd * rng.standard_normal(n_slices)
    return {
        f"{network}-{variant}-seed{seed}": mean
        + slices
        + seed_sd * rng.standard_normal()
        + rest_sd * rng.standard_normal(n_slices)
        for variant, mean in means.items()
        for seed in range(1, n_seeds + 1)
    }
