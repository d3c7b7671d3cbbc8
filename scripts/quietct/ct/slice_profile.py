"""Which noise neighbouring slices share: slices thicker than the step between them overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# For each slice the numbers of its cells and their weights.
Cells = list[list[tuple[int, float]]]


def noise_cells(z_mm: Sequence[float], thickness_mm: float) -> Cells:
    """Cut the scanned length at all faces of all slices into cells, and tell which cells make up each slice.

    A slice is the mean over a box of its thickness. Every cell has white noise of its own, whose mean over the cell has
    a variance of 1 / width; so the weight of a cell in its slice is the root of the part of the slice that it fills.
    The squares of a slice's weights add up to 1, and two slices correlate by the part of them that overlaps: for slices
    a step apart max(0, 1 - step / thickness).

    Parameters
    ----------
    z_mm : sequence of float
        Heights of the slices' middles, in any order.
    thickness_mm : float
        Thickness of all slices.

    Returns
    -------
    list of lists of (int, float)
        Per slice its cells, numbered upwards from 0, and their weights.
    """
    # In whole micrometres, so that faces which ought to coincide do.
    low = np.rint((np.asarray(z_mm, float) - thickness_mm / 2) * 1000).astype(np.int64)
    thickness = max(1, round(thickness_mm * 1000))
    faces = np.unique(np.concatenate([low, low + thickness]))
    widths = np.diff(faces)
    first, last = np.searchsorted(faces, low), np.searchsorted(faces, low + thickness)
    return [
        [(cell, math.sqrt(widths[cell] / thickness)) for cell in range(a, b)]
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
    ]


def independent_cells(slices: int) -> Cells:
    """Give every slice one cell of its own."""
    return [[(k, 1.0)] for k in range(slices)]


def shared_normals(cells: Sequence[tuple[int, float]], shape: tuple[int, ...], stream: Sequence[int]) -> np.ndarray:
    """Draw the standard normal numbers of one slice from those of its cells.

    Parameters
    ----------
    cells : sequence of (int, float)
        The slice's cells and weights.
    shape : tuple of int
    stream : sequence of int
        Seed of the volume's random numbers; with the number of a cell it is the seed of that cell.

    Returns
    -------
    ndarray of float32
        The same whoever computes it, and in whatever order.
    """
    normals = np.zeros(shape, np.float32)
    for cell, weight in cells:
        normals += np.float32(weight) * np.random.default_rng([*stream, cell]).standard_normal(shape, np.float32)
    return normals
