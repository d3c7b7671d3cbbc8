"""Plots and films inside the report: as small as they look well, each with words that stand for it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageSequence

from quietct.figures.style import method_label
from quietct.report.slices import data_uri
from quietct.report.table import number

MAX_PLOT_PX = 2400
# Quality and share of the width of films: tried in this order until all of them fit.
FILM_LOOKS = ((75, 1.0), (55, 1.0), (45, 0.75), (35, 0.5))


class Plot(NamedTuple):
    """A plot of the page; without `uri` it is missing, and `caption` says so."""

    name: str
    heading: str
    caption: str
    alt: str
    uri: str = ""
    width: int = 0
    height: int = 0


class Film(NamedTuple):
    """An animation as single pictures, so that it can be stopped at each.

    `still` is the last frame. `patches` are the parts of all frames that differ between frames; `box` is where they go
    on the still: left, top, width and height in pixels.
    """

    method: str
    label: str
    still: str
    width: int
    height: int
    box: tuple[int, int, int, int]
    frame_ms: int
    patches: list[str]


# Heading, what the picture shows, and the column that its alternative text tells for each method.
KINDS: dict[str, tuple[str, str, str]] = {
    "cost": (
        "Cost and validation PSNR",
        "Cost on the training patches and PSNR on the preview slice, by epoch. One line a variant and seed.",
        "psnr_db",
    ),
    "noise-power": (
        "Noise power spectrum",
        "How the noise that is left is spread over spatial frequencies. A peak further left is coarser noise.",
        "noise_peak_per_mm",
    ),
    "task-transfer": (
        "Task transfer function",
        "How much contrast of fine detail at nodule edges is left. A curve that falls early is blur.",
        "ttf50_per_mm",
    ),
    "nodules": (
        "Nodules, close up",
        "The same nodules by every method. Look for rims that blur and for contrast that fades.",
        "contrast_recovery",
    ),
    "slice-quality": (
        "Every slice",
        "How the measures are spread over slices, where the table gives means only.",
        "psnr_db",
    ),
    "differences": (
        "Differences between variants",
        "Mean differences with the 95 % interval of each pair by itself. A full dot is real even among so many pairs, "
        "so an interval may be clear of zero and its dot empty.",
        "",
    ),
    "contact-sheet": (
        "All methods on the preview slice",
        "Whole slice, the marked square enlarged, and the difference to the target.",
        "psnr_db",
    ),
    "calibration": (
        "Noise of the scanner",
        "Noise as measured in repeats and as simulated with what was found.",
        "",
    ),
}
UNITS = {
    "psnr_db": "PSNR {} dB",
    "noise_peak_per_mm": "peak at {} per mm",
    "ttf50_per_mm": "50 % at {} per mm",
    "contrast_recovery": "contrast recovery {}",
}


def plot_kind(name: str) -> str:
    """Find which of KINDS a file name such as `cost-compact` is; empty for none."""
    return max((kind for kind in KINDS if name == kind or name.startswith(f"{kind}-")), key=len, default="")


def load_plot(path: str | Path, rows: pd.DataFrame, noise: str = "") -> Plot:
    """Make a plot ready for the page.

    Parameters
    ----------
    path : path
        A PNG that may be missing. Its name tells its kind.
    rows : DataFrame
        The rows of the summary that belong to it, for the alternative text.
    noise : str
        For the alternative text.

    Returns
    -------
    Plot
        As lossless WebP, and where there is much grey in it, such as slices, as lossy WebP.
    """
    path = Path(path)
    kind = plot_kind(path.stem)
    heading, caption, column = KINDS.get(kind, (path.stem.replace("-", " "), "", ""))
    subject = path.stem.removeprefix(kind).removeprefix("-") if kind in ("cost", "calibration") else ""
    heading = f"{heading}, {subject}" if subject else heading
    if not path.exists():
        return Plot(path.stem, heading, f"This run has no {path.name}, so there is nothing to show.", "")
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image.thumbnail((MAX_PLOT_PX, 4 * MAX_PLOT_PX))
    options = {"quality": 82, "method": 4} if kind in ("contact-sheet", "nodules") else {"lossless": True, "method": 4}
    if kind == "cost":
        rows = rows[rows["network"] == subject]
    uri = data_uri(_webp(image, **options), "image/webp")
    return Plot(path.stem, heading, caption, _alt(heading, caption, column, rows, noise), uri, *image.size)


def load_films(gifs: Mapping[str, str | Path], room: int) -> tuple[list[Film], list[str]]:
    """Make animations ready for the page.

    Parameters
    ----------
    gifs : mapping of str to path
        By method. Those that are missing are left out and named.
    room : int
        Bytes for all of them.

    Returns
    -------
    films : list of Film
    notes : list of str
        Sentences on what is missing or made smaller.
    """
    notes = [
        f"{method_label(name)}: this run has no animation of it."
        for name, path in gifs.items()
        if not Path(path).exists()
    ]
    there = {name: path for name, path in gifs.items() if Path(path).exists()}
    for quality, scale in FILM_LOOKS:
        films = [load_film(path, name, quality, scale) for name, path in there.items()]
        if sum(map(film_size, films)) <= room:
            break
    kept: list[Film] = []
    for film in films:
        if sum(map(film_size, kept)) + film_size(film) <= room:
            kept.append(film)
        else:
            notes.append(
                f"{film.label}: left out, because this file would grow too large; see the folder gifs of the run."
            )
    if kept and scale < 1:
        notes.append(f"Animations are shown at {100 * scale:.0f} % of their width.")
    return kept, notes


def load_film(path: str | Path, method: str, quality: int, scale: float) -> Film:
    """Take an animation apart; see `Film`."""
    with Image.open(path) as gif:
        frame_ms = int(gif.info.get("duration", 200)) or 200
        frames = [frame.convert("L") for frame in ImageSequence.Iterator(gif)]
    if scale < 1:
        size = (round(frames[0].width * scale), round(frames[0].height * scale))
        frames = [frame.resize(size, Image.Resampling.BOX) for frame in frames]
    box = _changing([np.asarray(frame) for frame in frames])
    left, top, width, height = box
    options = {"quality": quality, "method": 4}
    return Film(
        method,
        method_label(method),
        data_uri(_webp(frames[-1], **options), "image/webp"),
        *frames[0].size,
        box,
        frame_ms,
        [
            data_uri(_webp(frame.crop((left, top, left + width, top + height)), **options), "image/webp")
            for frame in frames
        ],
    )


def film_size(film: Film) -> int:
    """Count the bytes of a film in the page."""
    return len(film.still) + sum(map(len, film.patches))


def _changing(frames: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
    """Find the rectangle outside which all frames are equal: left, top, width, height."""
    changed = np.zeros(frames[0].shape, bool)
    for frame in frames[1:]:
        changed |= frame != frames[0]
    if not changed.any():
        return 0, 0, frames[0].shape[1], frames[0].shape[0]
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def _alt(heading: str, caption: str, column: str, rows: pd.DataFrame, noise: str) -> str:
    """Say in words what a plot shows, with a number for each method where the summary has one."""
    start = f"{heading}{f' for noise {noise}' if noise else ''}. {caption}"
    if column not in rows.columns or rows[column].isna().all():
        return start
    values = rows[["method", column]].dropna()
    digits = 1 if column == "psnr_db" else 3
    parts = [
        f"{method_label(name)}: {UNITS[column].format(number(value, digits))}"
        for name, value in values.itertuples(index=False)
    ]
    return f"{start} {'; '.join(parts)}."


def _webp(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "WEBP", **options)
    return buffer.getvalue()
