"""The memory layout in which a convolution is a handful of matrix products.

Images lie side by side on a canvas of shape (rows, channels, columns), with zeros around and between them::

    columns →   border  sample 0  border  sample 1  border
    rows    ↓     0 0    x x x x    0 0    x x x x    0 0

In this order k successive rows with all their channels are one contiguous (k · channels, columns) matrix, and a
step to the right is an offset of one column: every window of a convolution is a view, and nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of a few equal images lie on a canvas.

    Parameters
    ----------
    samples, rows, columns : int
        Number and size of the images (pixels).
    border : int
        Width of the zeros around each image; at least half the largest kernel.
    """

    samples: int
    rows: int
    columns: int
    border: int

    @property
    def span(self) -> int:
        """Columns from the first pixel of the first image to the last pixel of the last one."""
        return self.samples * (self.columns + self.border) - self.border

    def empty(self, channels: int, dtype: np.dtype) -> np.ndarray:
        """Make a canvas of zeros, shape (rows + 2 borders, channels, span + 2 borders)."""
        return np.zeros((self.rows + 2 * self.border, channels, self.span + 2 * self.border), dtype)

    def interior(self, canvas: np.ndarray) -> np.ndarray:
        """View the rows and columns that hold images and the gaps between them: (rows, channels, span)."""
        border = self.border
        return canvas[border : border + self.rows, :, border : border + self.span]

    def images(self, canvas: np.ndarray) -> np.ndarray:
        """View the pixels alone, in the usual order (samples, channels, rows, columns)."""
        row, channel, column = canvas.strides
        start = canvas[self.border :, :, self.border :]
        shape = (self.samples, canvas.shape[1], self.rows, self.columns)
        return as_strided(start, shape, ((self.columns + self.border) * column, channel, row, column))

    def windows(self, canvas: np.ndarray, height: int, top: int, left: int) -> np.ndarray:
        """View, for every image row, the `height` rows around it as one matrix.

        Parameters
        ----------
        canvas : ndarray, shape (rows + 2 borders, channels, at least span)
            C-contiguous.
        height : int
            Rows per matrix.
        top, left : int
            How far above the image row, and left of the first pixel, the matrix begins.

        Returns
        -------
        ndarray, shape (rows, height * channels, span)
        """
        row, channel, column = canvas.strides
        start = canvas[self.border - top :, :, self.border - left :]
        return as_strided(start, (self.rows, height * canvas.shape[1], self.span), (row, channel, column))

    def clear_gaps(self, canvas: np.ndarray) -> None:
        """Put the zeros between the images back, which a convolution over the whole span has overwritten."""
        if self.samples > 1:
            pitch = self.columns + self.border
            first = self.border + self.columns
            block = canvas[self.border : self.border + self.rows, :, first : first + (self.samples - 1) * pitch]
            block.reshape(self.rows, canvas.shape[1], self.samples - 1, pitch)[..., : self.border] = 0
