"""Two-dimensional convolution in NumPy, fast because every product in it is a matrix product on a view.

`Convolution` works on canvases (see `quietct.nn.canvas`) and is what networks use; `conv2d` and its two gradients
are the same thing for arrays in the usual order. As everywhere in deep learning, "convolution" means
cross-correlation: the kernel is not flipped.

Three ways to compute one sum, chosen by shape:

taps
    One matrix product per horizontal position in the kernel; all rows and channels of the kernel go into the
    product at once. The general case.
unfolded
    With few input channels those products are too thin for a processor. Copies of the input, each shifted by one
    more column, stand in for channels, and one product does the whole kernel.
maps
    With few output channels it is the other way round: one product computes all positions of the kernel as
    separate maps, which are then shifted and added.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from quietct.nn.canvas import Geometry

# Rows computed at a time: their intermediate results stay in the processor's second-level cache.
ROWS_AT_A_TIME = 16
# Below this many (channels x kernel columns) an input is unfolded, and below so many kernel positions maps are added.
THIN = 32


class Convolution:
    """One convolution layer's arithmetic on canvases of one geometry, `same` padding, stride 1.

    Parameters
    ----------
    geometry : Geometry
        Of every canvas that is passed in. Its border must be at least half the kernel.
    weights_shape : (out_channels, in_channels, height, width)
        Shape of the weights.
    """

    def __init__(self, geometry: Geometry, weights_shape: tuple[int, int, int, int]):
        self.geometry = geometry
        self.shape = weights_shape
        height, width = weights_shape[2:]
        if max(height, width) // 2 > geometry.border:
            raise ValueError(f"a {height} x {width} kernel needs a border of {max(height, width) // 2}")
        self.lead = ((height - 1) // 2, (width - 1) // 2)

    def forward(self, x: np.ndarray, weights: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
        """Convolve canvas `x` into canvas `out`.

        Parameters
        ----------
        x : ndarray, shape (rows + 2 borders, in_channels, span + 2 borders)
        weights : ndarray, shape (out_channels, in_channels, height, width)
        bias : ndarray, shape (out_channels,)
        out : ndarray, shape (rows + 2 borders, out_channels, span + 2 borders)
            Overwritten, gaps cleared.
        """
        slide(x, weights, self.lead, self.geometry, out)
        self.geometry.interior(out)[...] += bias[:, None]
        self.geometry.clear_gaps(out)

    def input_gradient(self, delta: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        """Back-propagate `delta` to the layer's input: a convolution with the weights turned half round.

        Parameters
        ----------
        delta : ndarray, shape (rows + 2 borders, out_channels, span + 2 borders)
            Gradient with respect to the layer's output; zero in the gaps.
        weights : ndarray, shape (out_channels, in_channels, height, width)
        out : ndarray, shape (rows + 2 borders, in_channels, span + 2 borders)
            Overwritten, gaps cleared.
        """
        height, width = self.shape[2:]
        turned = weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        slide(delta, turned, (height - 1 - self.lead[0], width - 1 - self.lead[1]), self.geometry, out)
        self.geometry.clear_gaps(out)

    def weight_gradient(self, x: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradients with respect to weights and bias.

        Parameters
        ----------
        x, delta : ndarray
            Canvases of the layer's input and of the gradient with respect to its output, zero in the gaps.

        Returns
        -------
        weight_gradient : ndarray, shape (out_channels, in_channels, height, width)
        bias_gradient : ndarray, shape (out_channels,)
        """
        return correlate(x, delta, self.shape, self.lead, self.geometry), self.geometry.interior(delta).sum(axis=(0, 2))


def slide(x: np.ndarray, weights: np.ndarray, lead: tuple[int, int], geometry: Geometry, out: np.ndarray) -> None:
    """Slide a kernel over a canvas; its element [lead] lies over the pixel that is computed."""
    filters, channels, height, width = weights.shape
    top, left = lead
    target = geometry.interior(out)
    if channels * width <= THIN:
        unfolded = unfold(x, width, left, geometry)
        windows = geometry.windows(unfolded, height, top, left=0)
        np.matmul(weights.transpose(0, 2, 3, 1).reshape(filters, -1), windows, out=target)
    elif filters * height * width <= THIN:
        add_maps(x, weights, lead, geometry, target)
    else:
        taps = weights.transpose(3, 0, 2, 1).reshape(width, filters, height * channels)
        partial = np.empty((ROWS_AT_A_TIME, filters, geometry.span), x.dtype)
        for rows in row_blocks(geometry.rows):
            some = target[rows]
            for tap in range(width):
                windows = geometry.windows(x, height, top, left - tap)[rows]
                if tap == 0:
                    np.matmul(taps[tap], windows, out=some)
                else:
                    some += np.matmul(taps[tap], windows, out=partial[: len(some)])


def add_maps(x: np.ndarray, weights: np.ndarray, lead: tuple[int, int], geometry: Geometry, target: np.ndarray) -> None:
    """Compute one map per kernel position, then add the maps, each shifted to its position."""
    filters, channels, height, width = weights.shape
    matrix = np.ascontiguousarray(weights.transpose(2, 3, 0, 1).reshape(-1, channels))
    above, before = geometry.border - lead[0], geometry.border - lead[1]
    maps = np.empty((ROWS_AT_A_TIME + height - 1, len(matrix), x.shape[2]), x.dtype)
    row, one_map, column = maps.strides
    shifted = (width * filters * one_map + row, filters * one_map + column, row, one_map, column)
    for rows in row_blocks(geometry.rows):
        count = rows.stop - rows.start
        some = slice(above + rows.start, above + rows.stop + height - 1)
        np.matmul(matrix, x[some], out=maps[: count + height - 1])
        shape = (height, width, count, filters, geometry.span)
        np.add.reduce(as_strided(maps[:, :, before:], shape, shifted), axis=(0, 1), out=target[rows])


def correlate(
    x: np.ndarray, delta: np.ndarray, shape: tuple[int, int, int, int], lead: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """Sum over all pixels delta[f] times x[c] shifted, for every shift in the kernel: the weight gradient."""
    filters, channels, height, width = shape
    top, left = lead
    if channels * width <= THIN:
        unfolded = geometry.windows(unfold(x, width, left, geometry), height, top, left=0)
        return (
            sum_of_products(geometry.interior(delta), unfolded)
            .reshape(filters, height, width, channels)
            .transpose(0, 3, 1, 2)
        )
    if filters * width <= THIN:
        # The sum is symmetric: shifting x one way is shifting delta the other way, and delta is the thin one.
        swapped = correlate(
            delta, x, (channels, filters, height, width), (height - 1 - top, width - 1 - left), geometry
        )
        return swapped[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    gradient = np.empty((width, filters, height * channels), x.dtype)
    for tap in range(width):
        windows = geometry.windows(x, height, top, left - tap)
        gradient[tap] = sum_of_products(geometry.interior(delta), windows)
    return gradient.reshape(width, filters, height, channels).transpose(1, 3, 2, 0)


def sum_of_products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Σ over rows of a[row] @ b[row].T, for a of shape (rows, m, span) and b of shape (rows, k, span)."""
    total = np.zeros((a.shape[1], b.shape[1]), a.dtype)
    products = np.empty((ROWS_AT_A_TIME, *total.shape), a.dtype)
    for rows in row_blocks(len(a)):
        some = products[: rows.stop - rows.start]
        np.matmul(a[rows], b[rows].transpose(0, 2, 1), out=some)
        total += np.add.reduce(some, axis=0)
    return total


def unfold(x: np.ndarray, width: int, left: int, geometry: Geometry) -> np.ndarray:
    """Copy a canvas once per kernel column: channel (shift, c) at column s is x[c] at column s + shift - left."""
    rows, channels, _ = x.shape
    # The copies keep the left border, so that `Geometry.windows` reads them like any canvas.
    unfolded = np.zeros((rows, width, channels, geometry.border + geometry.span), x.dtype)
    for shift in range(width):
        start = geometry.border - left + shift
        unfolded[:, shift, :, geometry.border :] = x[:, :, start : start + geometry.span]
    return unfolded.reshape(rows, width * channels, -1)


def row_blocks(rows: int) -> list[slice]:
    """Cut `rows` rows into slices of at most ROWS_AT_A_TIME."""
    return [slice(start, min(start + ROWS_AT_A_TIME, rows)) for start in range(0, rows, ROWS_AT_A_TIME)]


def conv2d(x: np.ndarray, weights: np.ndarray, bias: np.ndarray, padding: str = "same") -> np.ndarray:
    """Convolve images with filters, stride 1.

    Parameters
    ----------
    x : ndarray, shape (samples, in_channels, rows, columns)
        float32 or float64.
    weights : ndarray, shape (out_channels, in_channels, height, width)
    bias : ndarray, shape (out_channels,)
    padding : {'same', 'valid'}
        `same` puts zeros around each image and keeps its size; `valid` keeps only whole windows, so that the
        result is (height - 1, width - 1) pixels smaller.

    Returns
    -------
    ndarray, shape (samples, out_channels, rows', columns')

    Raises
    ------
    ValueError
        If shapes or padding do not fit.

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, np.ones((1, 1, 3, 3)), np.zeros(1), "valid")
    array([[[[36.]]]])
    """
    geometry, convolution, (canvas,) = _on_canvas(weights, padding, x)
    out = geometry.empty(len(weights), x.dtype)
    convolution.forward(canvas, weights, bias, out)
    return geometry.images(out)[_whole_windows(weights, padding, x)].copy()


def conv2d_gradients(
    x: np.ndarray, weights: np.ndarray, delta: np.ndarray, padding: str = "same"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Back-propagate `delta`, the gradient with respect to `conv2d(x, weights, bias, padding)`.

    Parameters
    ----------
    x, weights, padding
        As in `conv2d`.
    delta : ndarray, shape of the convolution's result

    Returns
    -------
    x_gradient, weight_gradient, bias_gradient : ndarray
        In the shapes of x, weights and bias.
    """
    whole = np.zeros((len(x), len(weights), *x.shape[2:]), x.dtype)
    whole[_whole_windows(weights, padding, x)] = delta
    geometry, convolution, (canvas, delta_canvas) = _on_canvas(weights, padding, x, whole)
    out = geometry.empty(x.shape[1], x.dtype)
    convolution.input_gradient(delta_canvas, weights, out)
    return geometry.images(out).copy(), *convolution.weight_gradient(canvas, delta_canvas)


def _on_canvas(
    weights: np.ndarray, padding: str, *images: np.ndarray
) -> tuple[Geometry, Convolution, list[np.ndarray]]:
    samples, channels, rows, columns = images[0].shape
    if padding not in ("same", "valid"):
        raise ValueError(f"padding must be 'same' or 'valid', not {padding!r}")
    if weights.shape[1] != channels:
        raise ValueError(f"weights of shape {weights.shape} do not fit images with {channels} channels")
    geometry = Geometry(samples, rows, columns, border=max(weights.shape[2:]) // 2)
    canvases = []
    for image in images:
        canvas = geometry.empty(image.shape[1], image.dtype)
        geometry.images(canvas)[...] = image
        canvases.append(canvas)
    return geometry, Convolution(geometry, weights.shape), canvases


def _whole_windows(weights: np.ndarray, padding: str, x: np.ndarray) -> tuple[slice, ...]:
    """Where the result of `valid` lies in the result of `same`."""
    if padding == "same":
        return (slice(None),) * 4
    inside = []
    for size, k in zip(x.shape[2:], weights.shape[2:], strict=True):
        if k > size:
            raise ValueError(f"a kernel of {k} pixels does not fit into an image of {size} pixels")
        inside.append(slice((k - 1) // 2, size - k // 2))
    return (slice(None), slice(None), *inside)
