"""Convolution straight from its definition: one matrix product for each column of the kernel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quietct.nn.conv.canvas import Frame, Scratch, tiles

# A result with fewer elements takes less time than transposing an operand for it would.
SMALL_MATRIX = 512


class Direct:
    """A convolution whose product for column v of the kernel takes all its rows and channels at once.

    Below the kernel's column v, the image is a (height · channels, columns) matrix that is a view; the weights of
    that column are a (filters, height · channels) matrix. The products of all v are added.

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
        self.tile = frame.tile(filters * height * channels)

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
        filters, channels, height, width = self.shape
        frame, (top, left) = self.frame, self.lead
        # A copy: BLAS takes no kernel that is turned round by negative strides.
        by_column = np.ascontiguousarray(weights.transpose(3, 0, 2, 1))
        matrices = by_column.reshape(width, filters, height * channels)
        for band in frame.bands(rows, 1, self.shape):
            count = band.stop - band.start
            block = self.scratch("block", count, filters, frame.width)
            partial = self.scratch("partial", *block.shape)
            for v, matrix in enumerate(matrices):
                windows = frame.windows(x, band.start - top, v - left, height, count, self.tile)
                np.matmul(matrix, windows, out=tiles(partial if v else block, self.tile))
                if v:
                    np.add(block, partial, out=block)
            yield band, block

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
            Of some ways in the scratch: valid until the next convolution.
        """
        filters, channels, height, width = self.shape
        frame, (top, left) = self.frame, self.lead
        total = np.zeros((width, height * channels, filters), x.dtype)
        tile = frame.tile(total[0].size)
        for band in frame.bands(rows, 1, self.shape):
            count = band.stop - band.start
            below = frame.windows(delta, band.start, 0, 1, count, tile).swapaxes(2, 3)
            if total[0].size > SMALL_MATRIX:
                # Transposed once, so that every product below reads both of its operands along their rows.
                transposed = self.scratch("transposed", *below.shape)
                np.copyto(transposed, below)
                below = transposed
            products = self.scratch("products", count, frame.width // tile, *total[0].shape)
            for v in range(width):
                windows = frame.windows(x, band.start - top, v - left, height, count, tile)
                np.matmul(windows, below, out=products)
                total[v] += np.add.reduce(products, axis=(0, 1))
        return total.reshape(width, height, channels, filters).transpose(3, 2, 1, 0)
