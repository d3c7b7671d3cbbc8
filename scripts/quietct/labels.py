"""What sentences, tables and pictures call a method: one wording everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quietct.methods import base_variant, split_method

VARIANT_LABELS = {
    "sgd": "gradient descent",
    "gradient_noise": "gradient noise",
    "dilated": "dilated",
    "dilated_gradient_noise": "dilated + gradient noise",
}
OTHER_LABELS = {
    "noisy": "noisy",
    "clean": "clean",
    "gaussian": "Gaussian filter",
    "median": "median filter",
    "bilateral": "bilateral filter",
    "nl_means": "non-local means",
    "tv": "total variation",
    "wavelet": "wavelet shrinkage",
    "bm3d": "BM3D",
}


def variant_label(variant: str) -> str:
    """Put a variant's name into words: `dilated_gradient_noise` is "dilated + gradient noise"."""
    base = base_variant(variant)
    if base is None:
        return variant.replace("_", " ")
    suffix = variant[len(base) + 1 :].replace("_", " ")
    return f"{VARIANT_LABELS[base]}, {suffix}" if suffix else VARIANT_LABELS[base]


def method_label(method: str) -> str:
    """Put a method's name into words.

    Parameters
    ----------
    method : str
        `noisy`, `clean`, a baseline, or `<network>-<variant>-seed<k>`.

    Returns
    -------
    str
        For instance "chen2017 · dilated + gradient noise (seed 1)".
    """
    network, variant, seed = split_method(method)
    if network is None or variant is None:
        return OTHER_LABELS.get(method, method.replace("_", " "))
    return f"{network} · {variant_label(variant)} (seed {seed})"


def window_label(window_hu: Sequence[float]) -> str:
    """Write a grey-value window: "window −1350 to 150 HU"."""
    low, high = (f"{value:g}".replace("-", "−") for value in window_hu)
    return f"window {low} to {high} HU"


def decibels(psnr_db: float, digits: int = 1) -> str:
    """Write a PSNR: "27.3 dB", "∞ dB" for equal images, "no value" where the method failed."""
    if math.isnan(psnr_db):
        return "no value"
    return "∞ dB" if psnr_db == float("inf") else f"{psnr_db:.{digits}f} dB"
