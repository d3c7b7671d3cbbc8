"""Convolution straight from its definition: one matrix product for each column of the kernel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quietct.nn.conv.canvas import MOST_ROWS_TOGETHER, Frame, Scratch, tiles

# A result with fewer elements takes less time than transposing an operand for it would.
SMALL_MATRIX = 512


class Direct:
    """A convolution whose product for column v of the kernel takes all its rows and channels at once.

    Below the kernel's column v, the image is a (height · channels, columns) matrix that is a view; the weights of
    that column are a (filters, height · channels) matrix. The products of all v are added.

    With very few filters such a product is too flat for a processor. Then several rows of the result come from one
    product: the weights are repeated down a band matrix, each time one row of the image further. The multiplications
    by zero that this adds cost less than what the fuller product saves.

    Parameters
    ----------
    frame : Frame
    shape : (filters, channels, height, width)
        Shape of the weights.
    lead : (top, left)
        The kernel's element that lies over the pixel that is computed.
    scratch : Scratch
    """

    def __init__(self, frame: Frame, shape: tuple[int, ...], lead: tuple[int, int], scratch: Scratch):
        self.frame, self.shape, self.lead, self.scratch = frame, shape, lead, scratch
        filters, channels, height, _ = shape
        self.rows_together = self.count_together(shape)
        self.reach = self.rows_together + height - 1
        self.tile = frame.tile(self.rows_together * filters * self.reach * channels)

    @staticmethod
    def count_together(shape: tuple[int, ...]) -> int:
        """Count the rows of the result that are computed in one product."""
        return max(1, MOST_ROWS_TOGETHER // shape[0])

    def slide(self, x: np.ndarray, weights: np.ndarray, rows: slice) -> Iterator[tuple[slice, np.ndarray]]:
        """Slide the kernel over a canvas.

        Parameters
        ----------
        x : ndarray
            Canvas with zeros outside its region.
        weights : ndarray, shape (filters, channels, height, width)
        rows : slice
            Rows of the frame to compute.

        Yields
        ------
        rows : slice
            Some rows of the frame, from first to last.
        block : ndarray, shape (rows, filters, frame.width)
            Their result in all columns, gaps included; valid until the next one.
        """
        frame, together, (top, left) = self.frame, self.rows_together, self.lead
        matrices = self._band_matrices(weights)
        for band in frame.bands(rows, together, self.shape):
            count = -(-(band.stop - band.start) // together)
            block = self.scratch("block", count, matrices.shape[1], frame.width)
            partial = self.scratch("partial", *block.shape)
            for v, matrix in enumerate(matrices):
                windows = frame.windows(x, band.start - top, v - left, self.reach, together, count, self.tile)
                np.matmul(matrix, windows, out=tiles(partial if v else block, self.tile))
                if v:
                    np.add(block, partial, out=block)
            yield band, block.reshape(-1, self.shape[0], frame.width)[: band.stop - band.start]

    def weight_gradient(self, x: np.ndarray, delta: np.ndarray, rows: slice) -> np.ndarray:
        """Sum over all pixels of `delta` times the window of `x` around it.

        Parameters
        ----------
        x, delta : ndarray
            Canvases with zeros outside their regions.
        rows : slice
            Rows of the frame where `delta` is not zero.

        Returns
        -------
        ndarray, shape (filters, channels, height, width)
        """
        filters, channels, height, width = self.shape
        frame, together, (top, left) = self.frame, self.rows_together, self.lead
        total = np.zeros((width, self.reach * channels, together * filters), x.dtype)
        tile = frame.tile(total[0].size)
        for band in frame.bands(rows, together, self.shape):
            count = -(-(band.stop - band.start) // together)
            below = frame.windows(delta, band.start, 0, together, together, count, tile).swapaxes(2, 3)
            if total[0].size > SMALL_MATRIX:
                # Transposed once, so that every product below reads both of its operands along their rows.
                transposed = self.scratch("transposed", *below.shape)
                np.copyto(transposed, below)
                below = transposed
            products = self.scratch("products", count, frame.width // tile, *total[0].shape)
            for v in range(width):
                windows = frame.windows(x, band.start - top, v - left, self.reach, together, count, tile)
                np.matmul(windows, below, out=products)
                total[v] += np.add.reduce(products, axis=(0, 1))
        # The adjoint of `_band_matrices`: what belongs to the same weight is added.
        by_row = total.reshape(width, self.reach, channels, together, filters)
        gradient = sum(by_row[:, j : j + height, :, j] for j in range(together))
        return np.ascontiguousarray(np.asarray(gradient).transpose(3, 2, 1, 0))

    def _band_matrices(self, weights: np.ndarray) -> np.ndarray:
        """Arrange the weights as one matrix per kernel column: (width, together · filters, reach · channels)."""
        filters, channels, height, width = self.shape
        matrices = np.zeros((width, self.rows_together, filters, self.reach, channels), weights.dtype)
        for j in range(self.rows_together):
            matrices[:, j, :, j : j + height] = weights.transpose(3, 0, 2, 1)
        return matrices.reshape(width, self.rows_together * filters, -1)
