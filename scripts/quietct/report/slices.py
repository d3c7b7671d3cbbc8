"""Slices inside the report: exact HU as lossless pictures, as many as its size allows."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from quietct.ct.split import Split, read_slices, test_slices
from quietct.ct.volume import NO_VALUE, open_volume, preview_index, read_info

logger = logging.getLogger(__name__)

HU_LOW, HU_HIGH = -1024, 3071
# Stands for NO_VALUE in a picture.
NO_VALUE_CODE = 0xFFFF
MAX_SLICES = 3
SMALLEST_CROP = 64


@dataclass(frozen=True)
class Volumes:
    """Where the volumes of a run lie.

    Parameters
    ----------
    noises, methods, series : sequence of str
        Methods with a panel; test series, that of the preview first.
    infos, targets : sequence of path
        One a series.
    noisy : sequence of path
        One a noise and series, the series changing fastest.
    denoised : sequence of path
        One a noise, method and series, the series changing fastest.
    """

    noises: Sequence[str]
    methods: Sequence[str]
    series: Sequence[str]
    infos: Sequence[str | Path]
    targets: Sequence[str | Path]
    noisy: Sequence[str | Path]
    denoised: Sequence[str | Path]

    def images(self, noise: str, series: str) -> dict[str, Path]:
        """Give the volumes that are compared with the target: `noisy` and each method."""
        i, k, n = self.noises.index(noise), self.series.index(series), len(self.series)
        first = i * len(self.methods) * n + k
        paths = {"noisy": self.noisy[i * n + k]}
        paths |= {method: self.denoised[first + j * n] for j, method in enumerate(self.methods)}
        return {name: Path(path) for name, path in paths.items()}


class Crop(NamedTuple):
    """The part of a slice that is embedded: first row and column, and its size, pixels."""

    row: int
    column: int
    rows: int
    columns: int


class Picture(NamedTuple):
    """A picture for the page: its data URI and a number that tells whether a browser reads the exact pixels back."""

    uri: str
    check: int


@dataclass(frozen=True)
class SliceView:
    """One slice at all noises: its target, and `pictures[noise][name]`, the name `noisy` or a method."""

    series: str
    index: int
    count: int
    z_mm: float
    crop: Crop
    target: Picture
    pictures: dict[str, dict[str, Picture]]

    def as_values(self, noise: str) -> dict[str, dict[str, Any]]:
        """Give the pictures at a noise as values for JSON."""
        return {name: picture._asdict() for name, picture in self.pictures[noise].items()}


def data_uri(content: bytes, kind: str) -> str:
    """Give bytes as a `data:` URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def hu_codes(hu: np.ndarray) -> np.ndarray:
    """Turn int16 HU into codes 0 to 4095 of the HU from -1024 to 3071; NO_VALUE becomes 65535. Gives uint16."""
    codes = np.clip(hu, HU_LOW, HU_HIGH).astype(np.int32) - HU_LOW
    return np.where(hu == NO_VALUE, NO_VALUE_CODE, codes).astype(np.uint16)


def checksum(codes: np.ndarray) -> int:
    """Sum the codes times their places, 1 to 1024, so that exchanged pixels show; exact in a browser's doubles."""
    weights = np.arange(codes.size, dtype=np.int64) % 1024 + 1
    return int((codes.ravel().astype(np.int64) * weights).sum())


def encode_hu(hu: np.ndarray) -> Picture:
    """Write a slice as an opaque lossless WebP picture.

    Parameters
    ----------
    hu : ndarray of int16 (rows, columns)
        Clipped to -1024 to 3071 HU; NO_VALUE is kept.

    Returns
    -------
    Picture
        The high byte of a code is red and the low byte green. There is no alpha channel: browsers multiply colours by
        alpha, which loses bits.
    """
    codes = hu_codes(hu)
    channels = np.dstack([codes >> 8, codes & 255, np.zeros_like(codes)]).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(channels).save(buffer, "WEBP", lossless=True, quality=75, method=4)
    return Picture(data_uri(buffer.getvalue(), "image/webp"), checksum(codes))


def shown_slices(volumes: Volumes, split: Split | None, wanted: int | None) -> Iterator[tuple[str, int]]:
    """List held-out slices, the most worth showing first.

    Parameters
    ----------
    volumes : Volumes
    split : mapping or None
        The config's `split`.
    wanted : int or None
        The config's `preview.slice`, of the first series.

    Yields
    ------
    series, slice
        The preview slice, then slices at a quarter and three quarters of each series and so on; no slice twice.
    """
    seen = set()
    held_out = {}
    for series, info, target in zip(volumes.series, volumes.infos, volumes.targets, strict=True):
        volume = open_volume(target)
        allowed = read_slices(test_slices, info, split, len(volume))
        held_out[series] = np.flatnonzero(allowed)
        if series == volumes.series[0]:
            first = (series, preview_index(volume, wanted, target, allowed))
            seen.add(first)
            yield first
    for share in (0.25, 0.75, 0.5, 0.125, 0.875):
        for series, indices in held_out.items():
            one = (series, int(indices[round(share * (len(indices) - 1))]))
            if one not in seen:
                seen.add(one)
                yield one


def embed_slices(
    volumes: Volumes, split: Split | None, preview: Mapping[str, Any], room: int
) -> tuple[list[SliceView], list[str]]:
    """Embed slices until the room is used up.

    Parameters
    ----------
    volumes : Volumes
    split : mapping or None
        The config's `split`.
    preview : mapping
        The config's `preview`: its slice comes first, and its square is what is left of a slice that is too large.
    room : int
        Bytes for all pictures.

    Returns
    -------
    views : list of SliceView
        At most three.
    notes : list of str
        Sentences on what was left out.
    """
    views: list[SliceView] = []
    notes: list[str] = []
    total = 0
    for series, index in shown_slices(volumes, split, preview["slice"]):
        if len(views) == MAX_SLICES:
            break
        view = _view(volumes, series, index, None)
        if not views and size_of(view) > room:
            view = _shrunk(volumes, series, index, preview["zoom"], room, size_of(view))
            notes.append(f"The slice is cut to {view.crop.rows} × {view.crop.columns} pixels, to keep this file small.")
        if size_of(view) > room - total:
            notes.append("Further slices would make this file too large; the scroll animations of the run show them.")
            break
        views.append(view)
        total += size_of(view)
    logger.info("%d slices, %.2f MB", len(views), total / 1e6)
    return views, notes


def size_of(view: SliceView) -> int:
    """Count the bytes of all pictures of a slice."""
    return len(view.target.uri) + sum(len(one.uri) for found in view.pictures.values() for one in found.values())


def _view(volumes: Volumes, series: str, index: int, crop: Crop | None) -> SliceView:
    place = volumes.series.index(series)
    target = open_volume(volumes.targets[place])
    rows, columns = target.shape[1:]
    part = crop or Crop(0, 0, rows, columns)
    window = np.s_[index, part.row : part.row + part.rows, part.column : part.column + part.columns]
    # What is not there is a gap in the page; an image of another shape can't be laid over the target.
    pictures = {
        noise: {
            name: encode_hu(image[window])
            for name, path in volumes.images(noise, series).items()
            if path.exists() and (image := open_volume(path)).shape == target.shape
        }
        for noise in volumes.noises
    }
    z_mm = read_info(volumes.infos[place])["z_mm"][index]
    return SliceView(series, index, len(target), float(z_mm), part, encode_hu(target[window]), pictures)


def _shrunk(volumes: Volumes, series: str, index: int, zoom: Mapping[str, int], room: int, full: int) -> SliceView:
    """Cut a square around the middle of the preview's until a slice fits, or the square is as small as makes sense."""
    rows, columns = open_volume(volumes.targets[volumes.series.index(series)]).shape[1:]
    side = int(np.sqrt(rows * columns * room / full))
    while True:
        height, width = min(rows, max(side, SMALLEST_CROP)), min(columns, max(side, SMALLEST_CROP))
        middle = zoom["row"] + zoom["size"] // 2, zoom["column"] + zoom["size"] // 2
        row = int(np.clip(middle[0] - height // 2, 0, rows - height))
        column = int(np.clip(middle[1] - width // 2, 0, columns - width))
        view = _view(volumes, series, index, Crop(row, column, height, width))
        if size_of(view) <= room or side <= SMALLEST_CROP:
            return view
        side = int(0.9 * side)
