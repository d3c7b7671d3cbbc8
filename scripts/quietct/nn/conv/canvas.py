"""The memory layout in which a convolution is a handful of matrix products.

Images lie side by side on a canvas of shape (rows, channels, columns), with zeros around and between them::

    columns →   border  image 0  border  image 1  border
    rows    ↓     0 0    x x x x    0 0    x x x x    0 0

In this order k successive rows with all their channels are one contiguous (k · channels, columns) matrix, and a
step to the right is an offset of one column: every window of a convolution is a view, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

# Columns are computed in multiples of this, the float32 values in a register of AVX-512, and cut at half of it.
VECTOR = 16
# Widths of a matrix product that keep a processor busy.
SHORTEST_TILE, LONGEST_TILE = 48, 160
TILES = range(SHORTEST_TILE, LONGEST_TILE + 1, VECTOR // 2)
# Multiplications in one matrix product up to which OpenBLAS skips the copying ("packing") of its operands.
SMALL_PRODUCT = 1_000_000
# Intermediate values, and their products, that are computed before the next step is done with them: few enough for the
# caches, and so many that the time between two steps does not count.
BAND_VALUES, BAND_PRODUCTS = 1 << 18, 1 << 22
# `Winograd` computes up to so many rows of the result together. So a canvas has some rows below its images, for the
# last of these groups.
MOST_ROWS_TOGETHER = 4


@dataclass(frozen=True)
class Region:
    """The rectangle of a frame, the same in each image, that holds the pixels of one activation."""

    top: int
    left: int
    rows: int
    columns: int

    @property
    def row_range(self) -> slice:
        """Rows of the frame."""
        return slice(self.top, self.top + self.rows)


@dataclass(frozen=True)
class Frame:
    """The raster that all canvases of a network share, whatever their number of channels.

    Parameters
    ----------
    samples, rows, columns : int
        Number of images, and the size of the largest activation (pixels).
    border : int
        Width of the zeros around each image; at least half the largest kernel.
    """

    samples: int
    rows: int
    columns: int
    border: int

    @property
    def whole(self) -> Region:
        """The region of an activation as large as the frame."""
        return Region(0, 0, self.rows, self.columns)

    @property
    def pitch(self) -> int:
        """Columns from one image to the next."""
        return self.columns + self.border

    @cached_property
    def width(self) -> int:
        """Columns that are computed: those of all images and gaps, and a few more so that they divide into tiles."""
        span = self.samples * self.pitch - self.border
        width = -(-span // VECTOR) * VECTOR
        while width > LONGEST_TILE and not any(width % tile == 0 for tile in TILES):
            width += VECTOR
        return width

    @property
    def canvas_columns(self) -> int:
        """Columns of a canvas."""
        return self.width + 2 * self.border

    def tile(self, multiplications: int) -> int:
        """Choose how many columns go into one matrix product with so many multiplications a column."""
        small = [tile for tile in TILES if self.width % tile == 0 and tile * multiplications <= SMALL_PRODUCT]
        if self.width * multiplications <= SMALL_PRODUCT or not small:
            return self.width  # where no product can be small, the longest rows pay best
        return small[-1]

    def bands(self, rows: slice, together: int, shape: tuple[int, ...]) -> list[slice]:
        """Cut rows into bands, each a multiple of `together` rows but the last.

        What is computed for one band by weights of this shape stays in the processor's caches.
        """
        filters, channels = shape[:2]
        pixels = min(BAND_VALUES // max(filters, channels), BAND_PRODUCTS // (filters * channels))
        height = max(pixels // self.width // together, 1) * together
        return [slice(row, min(row + height, rows.stop)) for row in range(rows.start, rows.stop, height)]

    def empty(self, channels: int, dtype: Any) -> np.ndarray:
        """Make a canvas of zeros."""
        rows = self.rows + 2 * self.border + MOST_ROWS_TOGETHER - 1
        return np.zeros((rows, channels, self.canvas_columns), dtype)

    def images(self, canvas: np.ndarray, region: Region) -> np.ndarray:
        """View an activation's pixels in the usual order (samples, channels, rows, columns)."""
        _, channels, columns = canvas.shape
        return strided(
            canvas,
            (self.border + region.top) * channels * columns + self.border + region.left,
            (self.samples, channels, region.rows, region.columns),
            (self.pitch, columns, channels * columns, 1),
        )

    def body(self, canvas: np.ndarray, rows: slice) -> np.ndarray:
        """View what is computed in some rows: (rows, channels, width)."""
        return canvas[self.border + rows.start : self.border + rows.stop, :, self.border : self.border + self.width]

    def deal(self, block: np.ndarray, rows: slice, region: Region, images: np.ndarray) -> None:
        """Copy the pixels of computed rows, (rows, channels, width), to their rows of images in the usual order."""
        _, channels, width = block.shape
        pixels = strided(
            block,
            region.left,
            (self.samples, channels, len(block), region.columns),
            (self.pitch, width, channels * width, 1),
        )
        images[:, :, rows.start - region.top : rows.stop - region.top] = pixels

    def windows(self, canvas: np.ndarray, row: int, column: int, height: int, count: int, tile: int) -> np.ndarray:
        """View the matrices that lie under a kernel's column: `height` rows with all channels, cut into tiles.

        Parameters
        ----------
        canvas : ndarray
        row, column : int
            Where the first matrix begins, in pixels of the frame; may be negative, down to the border.
        height : int
            Rows per matrix.
        count : int
            How many matrices there are; each begins a row below the one before.
        tile : int
            Columns per tile.

        Returns
        -------
        ndarray, shape (count, width / tile, height * channels, tile)
        """
        _, channels, columns = canvas.shape
        return strided(
            canvas,
            (self.border + row) * channels * columns + self.border + column,
            (count, self.width // tile, height * channels, tile),
            (channels * columns, tile, columns, 1),
        )

    def pixel_columns(self, region: Region) -> np.ndarray:
        """Tell which of the computed columns hold pixels: bool, shape (width,)."""
        position = np.arange(self.width)
        within = position % self.pitch - region.left
        return (within >= 0) & (within < region.columns) & (position < self.samples * self.pitch)


class Scratch:
    """Memory for intermediate results, allocated once and used by all layers in turn.

    Nothing in it outlives one convolution, so that its content never matters.

    Parameters
    ----------
    dtype : numpy dtype
    """

    def __init__(self, dtype: Any):
        self.dtype = np.dtype(dtype)
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, name: str, *shape: int) -> np.ndarray:
        """Give an array of any content; the one that had this name before is lost."""
        size = prod(shape)
        if name not in self.arrays or self.arrays[name].size < size:
            self.arrays[name] = np.empty(size, self.dtype)
        return self.arrays[name][:size].reshape(shape)


def strided(array: np.ndarray, offset: int, shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """View a contiguous array, offset and strides counted in elements. Unlike `as_strided`, it refuses to leave it."""
    size = array.itemsize
    return np.ndarray(shape, array.dtype, array, offset * size, [stride * size for stride in strides])


def tiles(block: np.ndarray, tile: int) -> np.ndarray:
    """View a contiguous (..., rows, columns) array as (..., columns / tile, rows, tile)."""
    *outer, rows, columns = block.shape
    return block.reshape(*outer, rows, columns // tile, tile).swapaxes(-2, -3)
