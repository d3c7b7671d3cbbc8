"""One convolution layer: which way of computing it fits its shape, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from quietct.nn.conv.canvas import Frame, Region, Scratch
from quietct.nn.conv.direct import Direct
from quietct.nn.conv.gathered import Gathered
from quietct.nn.conv.unfolded import Unfolded
from quietct.nn.conv.winograd import ROWS_TOGETHER, Winograd

# Up to so many (channels, or filters, × kernel columns), a product per kernel column is too shallow, or too flat.
FEW_CHANNELS = 32
# From so many (channels, or filters, × kernel rows) on, what Winograd saves outweighs its transforms.
MANY_ROWS = 60


class Way(Protocol):
    """A way to compute a convolution; `Direct` documents the methods."""

    def slide(self, x: np.ndarray, weights: np.ndarray, rows: slice) -> Iterator[tuple[slice, np.ndarray]]:
        """Slide the kernel over a canvas."""

    def weight_gradient(self, x: np.ndarray, delta: np.ndarray, rows: slice) -> np.ndarray:
        """Sum delta times window over all pixels."""


class Convolution:
    """The arithmetic of one layer on canvases of one frame, stride 1.

    Whether zeros are added around the image (`same`, `full`) or not (`valid`) shows only in the two regions: the
    canvas is zero outside of `source` anyway.

    Parameters
    ----------
    frame : Frame
        Of every canvas that is passed in.
    shape : (filters, channels, height, width)
        Shape of the weights.
    source, result : Region
        Where the layer's input and output lie in the frame.
    scratch : Scratch
    """

    def __init__(
        self, frame: Frame, shape: tuple[int, int, int, int], source: Region, result: Region, scratch: Scratch
    ):
        filters, channels, height, width = shape
        self.source, self.result = source, result
        lead = ((height - 1) // 2, (width - 1) // 2)
        mirrored = (height - 1 - lead[0], width - 1 - lead[1])
        turned = (channels, filters, height, width)
        self.forward_way: Way = choose(shape)(frame, shape, lead, scratch)
        self.backward_way: Way = choose(turned)(frame, turned, mirrored, scratch)

    def forward(
        self, x: np.ndarray, weights: np.ndarray, rows: slice | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Convolve all rows or some; yields rows of the frame and their result without bias, as `Direct.slide` does."""
        return self.forward_way.slide(x, weights, rows or self.result.row_range)

    def input_gradient(self, delta: np.ndarray, weights: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Back-propagate `delta` to the layer's input: a convolution with the weights turned half round."""
        turned = weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        return self.backward_way.slide(delta, turned, self.source.row_range)

    def weight_gradient(self, x: np.ndarray, delta: np.ndarray) -> np.ndarray:
        """Gradient with respect to the weights.

        Parameters
        ----------
        x, delta : ndarray
            Canvases of the layer's input and of the gradient with respect to its output.

        Returns
        -------
        ndarray, shape (filters, channels, height, width)
        """
        return self.forward_way.weight_gradient(x, delta, self.result.row_range)


def choose(shape: tuple[int, int, int, int]) -> type[Direct] | type[Gathered] | type[Unfolded] | type[Winograd]:
    """Choose the fastest way for weights of this shape (filters, channels, height, width)."""
    filters, channels, height, width = shape
    if min(filters, channels) * width <= FEW_CHANNELS:
        return Unfolded if channels <= filters else Gathered
    if height in ROWS_TOGETHER and min(filters, channels) * height >= MANY_ROWS:
        return Winograd
    return Direct


def rows_together(shape: tuple[int, int, int, int]) -> int:
    """Tell after how many rows the result's rounding begins anew with weights of this shape."""
    return ROWS_TOGETHER[shape[2]] if choose(shape) is Winograd else 1
