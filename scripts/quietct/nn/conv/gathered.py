"""Convolution with few filters: what the kernel's columns contribute is computed apart, then gathered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quietct.nn.conv.canvas import Frame, Scratch, strided
from quietct.nn.conv.unfolded import Unfolded


class Gathered:
    """A convolution whose only product gives a map for each filter and each column of the kernel.

    With one filter, `Direct` would multiply by a matrix of a single line, which leaves a processor's registers empty,
    once for each column of the kernel. Here these lines are one matrix, and the product one for all columns. Each map
    then is shifted to where its column lies, which is an offset, and all are added.

    `Unfolded` with its steps reversed: that copies what comes in to many places, this adds what goes out from many
    places. So the gradient of the weights is `Unfolded`'s, with the gradient with respect to the output in the place of
    the image: shifting one to the left is shifting the other to the right.

    Parameters
    ----------
    frame, shape, lead, scratch
        As for `Direct`.
    """

    def __init__(self, frame: Frame, shape: tuple[int, ...], lead: tuple[int, int], scratch: Scratch):
        filters, channels, height, width = shape
        self.frame, self.shape, self.lead, self.scratch = frame, shape, lead, scratch
        self.tile = frame.tile(width * filters * height * channels)
        mirrored = (height - 1 - lead[0], width - 1 - lead[1])
        self.reversed = Unfolded(frame, (channels, filters, height, width), mirrored, scratch)

    def slide(self, x: np.ndarray, weights: np.ndarray, rows: slice) -> Iterator[tuple[slice, np.ndarray]]:
        """Slide the kernel over a canvas; see `Direct.slide`."""
        filters, channels, height, width = self.shape
        frame, (top, left) = self.frame, self.lead
        border, computed, columns = frame.border, frame.width, frame.canvas_columns
        by_column = np.ascontiguousarray(weights.transpose(3, 0, 2, 1))
        matrix = by_column.reshape(width * filters, height * channels)
        for band in frame.bands(rows, 1, (len(matrix), channels)):
            count = band.stop - band.start
            maps = self.scratch("maps", count, len(matrix), columns)
            maps[..., :border] = maps[..., border + computed :] = 0
            windows = frame.windows(x, band.start - top, 0, height, count, self.tile)
            np.matmul(matrix, windows, out=frame.windows(maps, -border, 0, 1, count, self.tile))
            shifted = strided(
                maps,
                border - left,
                (count, filters, width, computed),
                (len(matrix) * columns, columns, filters * columns + 1, 1),
            )
            block = self.scratch("block", count, filters, computed)
            np.add.reduce(shifted, axis=2, out=block)
            yield band, block

    def weight_gradient(self, x: np.ndarray, delta: np.ndarray, rows: slice) -> np.ndarray:
        """Sum delta times window; see `Direct.weight_gradient`."""
        turned = self.reversed.weight_gradient(delta, x, self.frame.whole.row_range)
        return turned[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
