"""Animations: a network's output as it learns, and a scroll through a denoised series."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from quietct.ct.split import Split, read_slices, test_slices
from quietct.ct.volume import open_alike, read_info
from quietct.errors import UserError
from quietct.evaluation.psnr import psnr_db, windowed
from quietct.figures.style import decibels, font_path, method_label, window_label
from quietct.files import written_whole

logger = logging.getLogger(__name__)

MAX_BYTES = 3_000_000
MAX_SCROLL_FRAMES = 24
HOLD_MS = 2000
GAP_PX = 4
# Noise hardly compresses: fewer greys, then smaller panels, bring a film under MAX_BYTES.
GREYS = (128, 64, 40, 24)


class Panel(NamedTuple):
    """One picture of a frame: HU (rows, columns) and the words above it."""

    hu: np.ndarray
    caption: str


class Fonts(NamedTuple):
    """The typefaces of a film: the same in all its frames, so that nothing jumps."""

    title: ImageFont.FreeTypeFont
    caption: ImageFont.FreeTypeFont


def render_training_gif(
    snapshots: str | Path,
    gif: str | Path,
    method: str,
    noise: str,
    window_hu: Sequence[float],
    frame_ms: int,
    size_px: int,
    target_label: str = "clean",
) -> None:
    """Show noisy slice, output and target side by side as the training goes on.

    Parameters
    ----------
    snapshots : path
        .npz of the trainer: epochs (n,), images (n, rows, columns), noisy and clean (rows, columns), psnr_db (n,).
    gif : path
        The animation to write; one frame a snapshot, the last one held.
    method, noise : str
        For the title.
    window_hu : (low, high)
        Black and white, HU.
    frame_ms : int
        Time per frame, ms.
    size_px : int
        Width of a panel, pixels. Shrinking averages pixels, so that a small panel shows less noise than the slice has.
    target_label : str
        What the last panel is called: "clean", or "target" if it is another scan.

    Raises
    ------
    UserError
        If the file is no snapshot file.
    """
    try:
        with np.load(snapshots, allow_pickle=False) as file:
            epochs, images, psnr = file["epochs"], file["images"], file["psnr_db"]
            noisy, clean = file["noisy"], file["clean"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{snapshots} holds no snapshots ({error}). Delete it and train again.") from None
    before = Panel(noisy, f"noisy, {decibels(psnr_db(noisy, clean, window_hu))}")
    after = Panel(clean, target_label)
    frames = [
        (before, Panel(image, f"{_epoch_label(epoch, epochs[-1])}, {decibels(value)}"), after)
        for epoch, image, value in zip(epochs.tolist(), images, psnr.tolist(), strict=True)
    ]
    title = f"{method_label(method)}, noise {noise}, {window_label(window_hu)}"
    write_film(gif, frames, title, window_hu, frame_ms, size_px)


def render_scroll_gif(
    clean: str | Path,
    info: str | Path,
    noisy: str | Path,
    image: str | Path,
    gif: str | Path,
    method: str,
    noise: str,
    series: str,
    window_hu: Sequence[float],
    frame_ms: int,
    size_px: int,
    target_label: str = "clean",
    split: Split | None = None,
) -> None:
    """Scroll through a series: noisy, denoised and target side by side, with position and PSNR of each slice.

    Parameters
    ----------
    clean, noisy, image : path
        Volumes of equal shape, HU.
    info : path
        JSON of the series, for the slice positions `z_mm`.
    gif : path
        The animation to write; at most 24 slices, spread evenly.
    method, noise, series : str
        For the title.
    window_hu : (low, high)
        Black and white, and the window of the PSNR, HU.
    frame_ms : int
        Time per frame, ms.
    size_px : int
        Width of a panel, pixels.
    target_label : str
        What the last panel is called: "clean", or "target" if it is another scan.
    split : mapping or None
        The config's `split`; with it only held-out slices are shown.

    Raises
    ------
    UserError
        If the volumes' shapes differ, or the split holds no slice out.
    """
    reference, before, after = open_alike(clean, noisy, image)
    positions = read_info(info)["z_mm"]
    shown = np.flatnonzero(read_slices(test_slices, info, split, len(reference)))
    count = min(MAX_SCROLL_FRAMES, len(shown))
    frames = []
    for index in shown[np.unique(np.linspace(0, len(shown) - 1, count).round().astype(int))]:
        noisy_db, image_db = (psnr_db(volume[index], reference[index], window_hu) for volume in (before, after))
        frames.append(
            (
                Panel(before[index], f"noisy, {decibels(noisy_db)}"),
                Panel(after[index], f"denoised, {decibels(image_db)}"),
                Panel(reference[index], f"{target_label}, z {positions[index]:.1f} mm".replace("-", "−")),
            )
        )
    title = f"{method_label(method)}, {series}, noise {noise}, {window_label(window_hu)}"
    write_film(gif, frames, title, window_hu, frame_ms, size_px)


def draw_frame(
    panels: Sequence[Panel], title: str, window_hu: Sequence[float], size_px: int, greys: int, fonts: Fonts
) -> Image.Image:
    """Set panels side by side under a strip with the title and their captions.

    Parameters
    ----------
    panels : sequence of Panel
        Equal shapes.
    title : str
        One line over the whole frame.
    window_hu : (low, high)
        Black and white, HU.
    size_px : int
        Width of a panel, pixels; the height keeps the slice's proportions.
    greys : int
        Number of grey levels.
    fonts : Fonts
        Of the title and the captions.

    Returns
    -------
    PIL image of mode P
        Grey palette of `greys` entries. The text strip covers no part of the panels.
    """
    rows, columns = panels[0].hu.shape
    height = max(1, round(size_px * rows / columns))
    line = round(1.5 * max(fonts.title.size, fonts.caption.size))
    pitch = size_px + GAP_PX
    frame = Image.new("L", (pitch * len(panels) - GAP_PX, 2 * line + height), color=0)
    draw = ImageDraw.Draw(frame)
    draw.text((GAP_PX, line / 2), title, fill=200, font=fonts.title, anchor="lm")
    for column, panel in enumerate(panels):
        draw.text((column * pitch + GAP_PX, 1.5 * line), panel.caption, fill=255, font=fonts.caption, anchor="lm")
        grey = np.rint(255 * windowed(panel.hu, window_hu)).astype(np.uint8)
        # A box average: when shrinking, every pixel counts; when enlarging, pixels stay sharp squares.
        small = Image.fromarray(grey).resize((size_px, height), Image.Resampling.BOX)
        frame.paste(small, (column * pitch, 2 * line))
    levels = np.rint(np.asarray(frame, dtype=np.float32) * ((greys - 1) / 255)).astype(np.uint8)
    indexed = Image.fromarray(levels, mode="P")
    indexed.putpalette([round(255 * level / (greys - 1)) for level in range(greys) for _ in "rgb"])
    return indexed


def write_film(
    gif: str | Path,
    frames: Sequence[Sequence[Panel]],
    title: str,
    window_hu: Sequence[float],
    frame_ms: int,
    size_px: int,
) -> None:
    """Write an animation of panels side by side, with fewer greys and smaller panels until the file is small enough.

    Parameters
    ----------
    gif : path
        The animation to write.
    frames : sequence of sequence of Panel
        The same number of panels, of equal shapes, in each.
    title : str
        One line over all frames.
    window_hu : (low, high)
        Black and white, HU.
    frame_ms : int
        Time per frame, ms; the last one is held.
    size_px : int
        Width of a panel, pixels, if the file does not grow too large.
    """
    durations = [frame_ms] * (len(frames) - 1) + [max(HOLD_MS, frame_ms)]
    encoded = b""
    for width, greys in _attempts(size_px):
        fonts = fitting_fonts(frames, title, width)
        images = [draw_frame(panels, title, window_hu, width, greys, fonts) for panels in frames]
        buffer = io.BytesIO()
        images[0].save(
            buffer, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False
        )
        encoded = buffer.getvalue()
        if len(encoded) <= MAX_BYTES:
            break
        logger.info("%d px and %d greys need %.1f MB: trying less", width, greys, len(encoded) / 1e6)
    with written_whole(gif) as partial:
        partial.write_bytes(encoded)
    logger.info("%s: %d frames, %.2f MB", gif, len(frames), len(encoded) / 1e6)


def _attempts(size_px: int) -> list[tuple[int, int]]:
    """List panel widths and numbers of greys to try, best first."""
    return [(round(size_px * scale), greys) for scale in (1, 0.75, 0.5) for greys in GREYS]


def fitting_fonts(frames: Sequence[Sequence[Panel]], title: str, size_px: int) -> Fonts:
    """Choose the largest fonts that suit panels of `size_px` pixels and let the title and all captions fit."""
    largest = max(8, min(16, size_px // 16))
    room = (size_px + GAP_PX) * len(frames[0]) - 3 * GAP_PX
    captions = [panel.caption for panels in frames for panel in panels]
    return Fonts(_fitting_font([title], room, largest), _fitting_font(captions, size_px - 2 * GAP_PX, largest))


def _fitting_font(texts: Sequence[str], room_px: float, largest: int) -> ImageFont.FreeTypeFont:
    for size in range(largest, 5, -1):
        font = ImageFont.truetype(font_path(), size)
        if max(map(font.getlength, texts)) <= room_px:
            break
    return font


def _epoch_label(epoch: int, last: int) -> str:
    return "untrained" if epoch == 0 else f"epoch {epoch} of {last}"
