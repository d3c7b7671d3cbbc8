"""One look for every picture: the same colour, line and words for a method wherever it appears."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from quietct.files import written_whole
from quietct.methods import base_variant, split_method

# Okabe and Ito's palette (Color Universal Design, 2008): told apart by colour-blind readers. The line styles tell the
# variants apart in black and white.
VARIANT_LOOKS: dict[str, tuple[str, str, Any]] = {
    "sgd": ("gradient descent", "#0072B2", "-"),
    "gradient_noise": ("gradient noise", "#E69F00", (0, (5, 2))),
    "dilated": ("dilated", "#009E73", (0, (6, 2, 1.5, 2))),
    "dilated_gradient_noise": ("dilated + gradient noise", "#D55E00", (0, (1.5, 1.5))),
}
OTHERS: dict[str, tuple[str, str]] = {
    "noisy": ("noisy", "#000000"),
    "clean": ("clean", "#000000"),
    "gaussian": ("Gaussian filter", "#999999"),
    "median": ("median filter", "#8C6D31"),
    "bilateral": ("bilateral filter", "#56B4E9"),
    "nl_means": ("non-local means", "#CC79A7"),
    "tv": ("total variation", "#7B5EA7"),
    "wavelet": ("wavelet shrinkage", "#B3A600"),
}
UNKNOWN_COLOUR = "#555555"

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


class Style(NamedTuple):
    """How a variant is drawn: a matplotlib colour and line style."""

    colour: str
    line: Any


def variant_label(variant: str) -> str:
    """Put a variant's name into words: `dilated_gradient_noise` is "dilated + gradient noise"."""
    base = base_variant(variant)
    if base is None:
        return variant.replace("_", " ")
    suffix = variant[len(base) + 1 :].replace("_", " ")
    return f"{VARIANT_LOOKS[base][0]}, {suffix}" if suffix else VARIANT_LOOKS[base][0]


def variant_styles(variants: Sequence[str]) -> dict[str, Style]:
    """Choose a colour and a line for each variant.

    The four variants always look the same. Further ones of the same kind share the line and grow lighter.

    Parameters
    ----------
    variants : sequence of str
        Names, in the config's order; repetitions count once.

    Returns
    -------
    dict of str to Style
    """
    styles: dict[str, Style] = {}
    seen: dict[str | None, int] = {}
    for variant in dict.fromkeys(variants):
        base = base_variant(variant)
        _, colour, line = VARIANT_LOOKS[base] if base else ("", UNKNOWN_COLOUR, "-")
        rank = 0 if variant == base else seen.setdefault(base, 0 if base not in variants else 1)
        seen[base] = rank + 1
        styles[variant] = Style(_lightened(colour, min(0.3 * rank, 0.7)), line)
    return styles


def method_colour(method: str) -> str:
    """Give the colour of a method: its variant's for a network, its own for a baseline."""
    _, variant, _ = split_method(method)
    if variant is None:
        return OTHERS[method][1] if method in OTHERS else UNKNOWN_COLOUR
    return variant_styles([variant])[variant].colour


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
        return OTHERS[method][0] if method in OTHERS else method.replace("_", " ")
    return f"{network} · {variant_label(variant)} (seed {seed})"


def window_label(window_hu: Sequence[float]) -> str:
    """Write a grey-value window: "window −1350 to 150 HU"."""
    low, high = (f"{value:g}".replace("-", "−") for value in window_hu)
    return f"window {low} to {high} HU"


def decibels(psnr_db: float, digits: int = 1) -> str:
    """Write a PSNR: "27.3 dB", "∞ dB" for equal images."""
    return "∞ dB" if psnr_db == float("inf") else f"{psnr_db:.{digits}f} dB"


def font_path() -> str:
    """Find the typeface of all pictures; it comes with matplotlib, so every machine has the same."""
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def save_figure(figure: Figure, path: str | Path, dpi: int) -> None:
    """Write a figure as PNG without a date in it, so that equal figures are equal files."""
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=dpi, format="png", metadata={"Software": None})


def _lightened(colour: str, amount: float) -> str:
    """Blend a hex colour with white by 0 (none) to 1 (white)."""
    channels = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (255 - channel) * amount):02X}" for channel in channels)
