"""Convolution of few channels: shifted copies stand in for the channels that are missing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quietct.nn.conv.canvas import Frame, Scratch
from quietct.nn.conv.direct import Direct


class Unfolded:
    """A convolution that first copies the image once for each column of the kernel, one column further each time.

    A 9 × 9 kernel over one channel becomes a 9 × 1 kernel over nine channels, whose single product is deep enough
    to keep a processor busy. Nine shifted copies are enough, where the usual way (im2col) makes 81.

    Parameters
    ----------
    frame, shape, lead, scratch
        As for `Direct`.
    """

    def __init__(self, frame: Frame, shape: tuple[int, ...], lead: tuple[int, int], scratch: Scratch):
        filters, channels, height, self.width = shape
        self.frame, self.left, self.scratch = frame, lead[1], scratch
        self.narrow = Direct(frame, (filters, self.width * channels, height, 1), (lead[0], 0), scratch)

    def slide(self, x: np.ndarray, weights: np.ndarray, rows: slice) -> Iterator[tuple[slice, np.ndarray]]:
        """Slide the kernel over a canvas; see `Direct.slide`."""
        filters, _, height, _ = weights.shape
        narrow = weights.transpose(0, 3, 1, 2).reshape(filters, -1, height, 1)
        return self.narrow.slide(self._unfold(x), narrow, rows)

    def weight_gradient(self, x: np.ndarray, delta: np.ndarray, rows: slice) -> np.ndarray:
        """Sum delta times window; see `Direct.weight_gradient`."""
        narrow = self.narrow.weight_gradient(self._unfold(x), delta, rows)
        filters, _, height, _ = narrow.shape
        return narrow.reshape(filters, self.width, -1, height).transpose(0, 2, 3, 1)

    def _unfold(self, x: np.ndarray) -> np.ndarray:
        """Make a canvas whose channel (v, c) at column s is x[c] at column s + v - left."""
        rows, channels, columns = x.shape
        border, computed = self.frame.border, self.frame.width
        unfolded = self.scratch("unfolded", rows, self.width, channels, columns)
        for v in range(self.width):
            start = border + v - self.left
            unfolded[:, v, :, border : border + computed] = x[:, :, start : start + computed]
        return unfolded.reshape(rows, -1, columns)
