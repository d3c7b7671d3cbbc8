"""One look for every picture: the same colour, line and words for a method wherever it appears."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from quietct.files import written_whole

# Pictures take words and looks of a method from one place.
from quietct.labels import decibels as decibels
from quietct.labels import method_label as method_label
from quietct.labels import variant_label as variant_label
from quietct.labels import window_label as window_label
from quietct.methods import base_variant, split_method

# Okabe and Ito's palette (Color Universal Design, 2008): told apart by colour-blind readers. The line styles tell the
# variants apart in black and white.
VARIANT_LOOKS: dict[str, tuple[str, Any]] = {
    "sgd": ("#0072B2", "-"),
    "gradient_noise": ("#E69F00", (0, (5, 2))),
    "dilated": ("#009E73", (0, (6, 2, 1.5, 2))),
    "dilated_gradient_noise": ("#D55E00", (0, (1.5, 1.5))),
}
OTHER_COLOURS = {
    "noisy": "#000000",
    "clean": "#000000",
    "gaussian": "#999999",
    "median": "#8C6D31",
    "bilateral": "#56B4E9",
    "nl_means": "#CC79A7",
    "tv": "#7B5EA7",
    "wavelet": "#B3A600",
    "bm3d": "#7A1F3D",
}
UNKNOWN_COLOUR = "#555555"
# Curves of filters are thin lines with marks, those of networks thick lines with dashes: told apart in black and white.
MARKERS = {
    "gaussian": "o",
    "median": "s",
    "bilateral": "^",
    "nl_means": "D",
    "tv": "v",
    "wavelet": "X",
    "bm3d": "P",
}

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
        colour, line = VARIANT_LOOKS[base] if base else (UNKNOWN_COLOUR, "-")
        rank = 0 if variant == base else seen.setdefault(base, 0 if base not in variants else 1)
        seen[base] = rank + 1
        styles[variant] = Style(_lightened(colour, min(0.3 * rank, 0.7)), line)
    return styles


def method_colour(method: str) -> str:
    """Give the colour of a method: its variant's for a network, its own for a baseline."""
    _, variant, _ = split_method(method)
    if variant is None:
        return OTHER_COLOURS.get(method, UNKNOWN_COLOUR)
    return variant_styles([variant])[variant].colour


def method_look(method: str) -> dict[str, Any]:
    """Choose how the curve of a method is drawn.

    Parameters
    ----------
    method : str
        `noisy`, `clean`, a baseline, or `<network>-<variant>-seed<k>`.

    Returns
    -------
    dict
        Arguments of matplotlib's `plot`: colour, line, width and marks. The target is a dashed black line.
    """
    _, variant, _ = split_method(method)
    if variant is not None:
        style = variant_styles([variant])[variant]
        return {"color": style.colour, "linestyle": style.line, "linewidth": 2.2}
    look = {"color": method_colour(method), "linestyle": "-", "linewidth": 1.1}
    if method == "clean":
        return look | {"linestyle": (0, (4, 3)), "linewidth": 1.4}
    return look | {"marker": MARKERS.get(method, ""), "markersize": 4.5}


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
