"""The tricks within one convolution layer, each as functions that compute the same with it and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from quietct.nn.conv import direct
from quietct.nn.conv.canvas import Frame, Scratch
from quietct.nn.conv.direct import Direct
from quietct.nn.conv.gathered import Gathered
from quietct.nn.conv.layer import Way
from quietct.nn.conv.unfolded import Unfolded
from quietct.nn.conv.winograd import Winograd
from workloads import NETWORKS

FIRST, SECOND, THIRD = NETWORKS["chen2017"].weight_shapes
SAMPLES = 4  # of 64²
Compute = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """Two functions that give the same numbers.

    Parameters
    ----------
    trick, on : str
        What is compared, and on which layer or network.
    pixels : int
        Of all images.
    without, using : callable
    """

    trick: str
    on: str
    pixels: int
    without: Compute
    using: Compute


class Layer:
    """A convolution of square images, padding `same`, with random numbers on its canvases.

    Parameters
    ----------
    samples, side : int
    shape : (filters, channels, height, width)
        Of the weights.
    """

    def __init__(self, samples: int, side: int, shape: tuple[int, int, int, int]):
        self.shape, self.samples, self.side = shape, samples, side
        filters, channels, height, width = shape
        rng = np.random.default_rng(2018)
        self.frame = Frame(samples, side, side, border=4)  # as wide as chen2017's first kernel needs
        self.rows, self.lead = self.frame.whole.row_range, ((height - 1) // 2, (width - 1) // 2)
        self.images = rng.standard_normal((samples, channels, side, side), dtype=np.float32)
        self.weights = rng.standard_normal(shape, dtype=np.float32)
        self.x, self.delta, self.y = (self.frame.empty(count, np.float32) for count in (channels, filters, filters))
        self.pixels_of(self.x)[...] = self.images
        self.pixels_of(self.delta)[...] = rng.standard_normal((samples, filters, side, side), dtype=np.float32)

    def pixels_of(self, canvas: np.ndarray) -> np.ndarray:
        """View a canvas in the usual order."""
        return self.frame.images(canvas, self.frame.whole)

    def way(self, kind: type[Any]) -> Any:
        """Make one way of computing."""
        return kind(self.frame, self.shape, self.lead, Scratch(np.float32))

    def forward(self, way: Way) -> Compute:
        """Convolve, and take the result from each band to its canvas through a ReLU, as a network does."""

        def compute() -> np.ndarray:
            for rows, block in way.slide(self.x, self.weights, self.rows):
                np.clip(block, 0, np.inf, out=self.frame.body(self.y, rows))
            return self.pixels_of(self.y)

        return compute

    def weight_gradient(self, way: Way) -> Compute:
        """Compute the gradient with respect to the weights."""
        return lambda: way.weight_gradient(self.x, self.delta, self.rows)

    def im2col(self) -> Compute:
        """Do the same with images in their usual order: copy the windows of one image, then multiply once."""
        samples, _, rows, columns = self.images.shape
        filters, _, height, width = self.shape
        padded = np.pad(self.images, [(0, 0), (0, 0), (height // 2,) * 2, (width // 2,) * 2])
        windows = sliding_window_view(padded, (height, width), (2, 3)).transpose(0, 1, 4, 5, 2, 3)
        matrix = self.weights.reshape(filters, -1)
        copies = np.empty((matrix.shape[1], rows * columns), np.float32)
        result = np.empty((samples, filters, rows * columns), np.float32)

        def compute() -> np.ndarray:
            for of_image, out in zip(windows, result, strict=True):
                np.copyto(copies.reshape(of_image.shape), of_image)
                np.matmul(matrix, copies, out=out)
                np.clip(out, 0, np.inf, out=out)
            return result.reshape(samples, filters, rows, columns)

        return compute

    def compare(self, trick: str, without: Compute, using: Compute) -> Comparison:
        """Say what is compared."""
        filters, channels, height, width = self.shape
        on = f"{channels} to {filters}, {height} x {width}, {self.samples} of {self.side}²"
        return Comparison(trick, on, self.samples * self.side**2, without, using)


def layout(side: int) -> Iterator[Comparison]:
    """Multiply views of a canvas, or a copy of every window."""
    layer = Layer(SAMPLES, side, SECOND)
    yield layer.compare("views of a canvas, not im2col", layer.im2col(), layer.forward(layer.way(Direct)))


def tiles(side: int) -> Iterator[Comparison]:
    """Multiply tiles of a row, or whole rows."""
    layer = Layer(1, 4 * side, SECOND)
    of_rows, of_tiles = layer.way(Direct), layer.way(Direct)
    of_rows.tile = layer.frame.width
    yield layer.compare("tiles, not whole rows", layer.forward(of_rows), layer.forward(of_tiles))
    layer = Layer(1, 4 * side, FIRST)
    of_rows, of_tiles = layer.way(Unfolded), layer.way(Unfolded)
    of_rows.narrow.tile = layer.frame.width
    yield layer.compare("tiles, not whole rows", layer.forward(of_rows), layer.forward(of_tiles))


def winograd(side: int) -> Iterator[Comparison]:
    """Multiply as Winograd does, or once for each column of the kernel."""
    for shape in (SECOND, (16, 16, 5, 5), (96, 96, 5, 5)):
        layer = Layer(SAMPLES, side, shape)
        ways = layer.way(Direct), layer.way(Winograd)
        yield layer.compare("Winograd, forward", *map(layer.forward, ways))
        yield layer.compare("Winograd, weight gradient", *map(layer.weight_gradient, ways))


def unfolding(side: int) -> Iterator[Comparison]:
    """Copy the image for each column of the kernel, or not, or for each element."""
    layer = Layer(SAMPLES, side, FIRST)
    ways = layer.way(Direct), layer.way(Unfolded)
    yield layer.compare("9 shifted copies, not 9 products", *map(layer.forward, ways))
    yield layer.compare("9 shifted copies, not 81 (im2col)", layer.im2col(), layer.forward(layer.way(Unfolded)))


def gathering(side: int) -> Iterator[Comparison]:
    """Multiply once for all columns of the kernel and add the shifted maps, or multiply for each column."""
    for shape in (THIRD, (1, 96, 5, 5), (4, 32, 5, 5)):
        layer = Layer(SAMPLES, side, shape)
        ways = layer.way(Direct), layer.way(Gathered)
        yield layer.compare("one product, maps gathered", *map(layer.forward, ways))


def transposing(side: int) -> Iterator[Comparison]:
    """Transpose the gradient with respect to the output once, or let each product do it."""

    def small_up_to(size: int, compute: Compute) -> Compute:
        def patched() -> np.ndarray:
            with mock.patch.object(direct, "SMALL_MATRIX", size):
                return compute()

        return patched

    for trick, shape, kind, other in (
        ("weight gradient: delta transposed once", FIRST, Unfolded, 1 << 60),
        ("weight gradient: delta transposed once", SECOND, Direct, 1 << 60),
        ("weight gradient: small, not transposed", (16, 1, 5, 5), Unfolded, 0),
    ):
        layer = Layer(SAMPLES, side, shape)
        without, using = (layer.weight_gradient(layer.way(kind)) for _ in range(2))
        yield layer.compare(trick, small_up_to(other, without), small_up_to(direct.SMALL_MATRIX, using))


def swapping(side: int) -> Iterator[Comparison]:
    """Copy and shift the gradient with respect to the output, which has one channel, or multiply below the input."""
    layer = Layer(SAMPLES, side, THIRD)
    ways = layer.way(Direct), layer.way(Gathered)
    yield layer.compare("weight gradient: delta unfolded", *map(layer.weight_gradient, ways))


def elementwise(side: int) -> Iterator[Comparison]:
    """Do what follows a layer of 64 filters, band by band: the block is in the cache, the canvas is not."""
    layer = Layer(SAMPLES, side, FIRST)
    frame, filters = layer.frame, FIRST[0]
    bands = frame.bands(layer.rows, 1, FIRST)
    rng = np.random.default_rng(1)
    block = rng.standard_normal((bands[0].stop, filters, frame.width), dtype=np.float32)
    changed = np.empty_like(block)
    bias = np.linspace(-0.5, 0.5, filters, dtype=np.float32)[:, None]
    shift = bias + np.where(frame.pixel_columns(frame.whole), 0, -np.inf).astype(np.float32)

    def band_by_band(act: Callable[[slice, np.ndarray], object]) -> Compute:
        canvas = frame.empty(filters, np.float32)

        def compute() -> np.ndarray:
            for band in bands:
                act(slice(band.stop - band.start), frame.body(canvas, band))
            return canvas

        return compute

    def clear_gaps(some: slice, out: np.ndarray) -> None:
        np.clip(np.add(block[some], bias, out=changed[some]), 0, np.inf, out=out)
        for gap in range(frame.columns, frame.width, frame.pitch):
            out[..., gap : gap + frame.border] = 0
        out[..., frame.samples * frame.pitch - frame.border :] = 0

    def add_minus_infinity(some: slice, out: np.ndarray) -> None:
        np.clip(np.add(block[some], shift, out=changed[some]), 0, np.inf, out=out)

    yield layer.compare(
        "ReLU by clip, not maximum",
        band_by_band(lambda some, out: np.maximum(block[some], 0, out=out)),
        band_by_band(lambda some, out: np.clip(block[some], 0, np.inf, out=out)),
    )
    yield layer.compare("minus infinity, not gaps cleared", *map(band_by_band, (clear_gaps, add_minus_infinity)))


TRICKS = (layout, tiles, winograd, unfolding, gathering, transposing, swapping, elementwise)
