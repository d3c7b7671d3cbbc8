"""Convolution of arrays in the usual order (samples, channels, rows, columns), for use without a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from quietct.nn.conv.canvas import Frame, Region, Scratch
from quietct.nn.conv.layer import Convolution

PADDINGS = ("same", "valid", "full")


class LayerWorkspace:
    """One convolution over images of one size, forward and backward, with its memory allocated once.

    Parameters
    ----------
    samples, channels, rows, columns : int
        Shape of the input.
    weights_shape : (filters, channels, height, width)
    padding : {'same', 'valid', 'full'}
        See `conv2d`.
    dtype : numpy dtype
        float32 or float64.

    Raises
    ------
    ValueError
        If the shapes or the padding do not fit.
    """

    def __init__(
        self,
        samples: int,
        channels: int,
        rows: int,
        columns: int,
        weights_shape: tuple[int, ...],
        padding: str = "same",
        dtype: Any = np.float32,
    ):
        self.shape = (samples, channels, rows, columns)
        self.weights_shape = check_weights_shape(weights_shape, channels)
        filters, _, height, width = self.weights_shape
        self.dtype = check_dtype(dtype)
        if min(self.shape) < 1:
            raise ValueError(f"images of shape {self.shape} have no pixels")
        self.source, self.result = regions(rows, columns, height, width, padding)
        frame = Frame(
            samples,
            max(self.source.rows, self.result.rows),
            max(self.source.columns, self.result.columns),
            border=max(height, width) // 2,
        )
        self.frame = frame
        self.convolution = Convolution(frame, self.weights_shape, self.source, self.result, Scratch(dtype))
        self.x, self.delta = frame.empty(channels, dtype), frame.empty(filters, dtype)

    def forward(
        self, x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Convolve; see `conv2d`. `out` is where the result goes, a new array if None."""
        self._check("images", x, self.shape)
        self._check("weights", weights, self.weights_shape)
        self.frame.images(self.x, self.source)[...] = x
        y = self._output(out, (len(x), len(weights), self.result.rows, self.result.columns))
        for rows, block in self.convolution.forward(self.x, weights):
            self.frame.deal(block, rows, self.result, y)
        if bias is not None:
            self._check("bias", bias, self.weights_shape[:1])
            y += bias[:, None, None]
        return y

    def backward(
        self, delta: np.ndarray, weights: np.ndarray, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Back-propagate after `forward`; see `conv2d_gradients`. `out` is where the gradient of x goes.

        That of the weights may lie in the workspace: valid until the next call.
        """
        result = self.frame.images(self.delta, self.result)
        self._check("delta", delta, result.shape)
        self._check("weights", weights, self.weights_shape)
        result[...] = delta
        x_gradient = self._output(out, self.shape)
        for rows, block in self.convolution.input_gradient(self.delta, weights):
            self.frame.deal(block, rows, self.source, x_gradient)
        weight_gradient = self.convolution.weight_gradient(self.x, self.delta)
        return x_gradient, weight_gradient, delta.sum(axis=(0, 2, 3), dtype=np.float64).astype(self.dtype)

    def _output(self, out: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
        if out is None:
            return np.empty(shape, self.dtype)
        self._check("out", out, shape)
        return out

    def _check(self, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
        if array.dtype != self.dtype:
            raise ValueError(f"{name} of shape {array.shape} must be {self.dtype}, not {array.dtype}")


def conv2d(x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None = None, padding: str = "same") -> np.ndarray:
    """Convolve images with filters, stride 1. As everywhere in deep learning, the kernel is not flipped.

    Parameters
    ----------
    x : ndarray, shape (samples, channels, rows, columns)
        float32 or float64, in any memory order. A NaN or an infinity spreads to the pixels whose windows hold it, and
        to up to 3 rows more that are computed together with them; never to another image.
    weights : ndarray, shape (filters, channels, height, width)
        Of the same dtype.
    bias : ndarray, shape (filters,), optional
    padding : {'same', 'valid', 'full'}
        `same` puts zeros around each image and keeps its size; `valid` keeps only whole windows, so that the result
        is (height - 1, width - 1) pixels smaller; `full` keeps every window that touches the image, so that it is as
        much larger. A transposed convolution of stride 1 is a `full` one with the kernel turned half round.

    Returns
    -------
    ndarray, shape (samples, filters, rows', columns')

    Raises
    ------
    ValueError
        If shapes, dtypes or padding do not fit, or a `valid` kernel is larger than the image.

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, np.ones((1, 1, 3, 3)), np.zeros(1), "valid")
    array([[[[36.]]]])
    """
    return _workspace(x, weights, padding).forward(x, weights, bias)


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

    Raises
    ------
    ValueError
        As `conv2d`.
    """
    workspace = _workspace(x, weights, padding)
    workspace._check("images", x, workspace.shape)
    workspace.frame.images(workspace.x, workspace.source)[...] = x
    return workspace.backward(delta, weights)


def regions(rows: int, columns: int, height: int, width: int, padding: str) -> tuple[Region, Region]:
    """Place the input and the output of a convolution in one frame, each output pixel below its kernel's lead.

    Parameters
    ----------
    rows, columns : int
        Size of the input.
    height, width : int
        Size of the kernel.
    padding : {'same', 'valid', 'full'}

    Returns
    -------
    source, result : Region

    Raises
    ------
    ValueError
        If the padding is unknown, or `valid` leaves no pixel.
    """
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, not {padding!r}")
    image = Region(0, 0, rows, columns)
    if padding == "same":
        return image, image
    if padding == "valid":
        if height > rows or width > columns:
            raise ValueError(f"a kernel of {height} x {width} pixels does not fit into an image of {rows} x {columns}")
        return image, Region((height - 1) // 2, (width - 1) // 2, rows - height + 1, columns - width + 1)
    return Region(height // 2, width // 2, rows, columns), Region(0, 0, rows + height - 1, columns + width - 1)


def check_weights_shape(shape: tuple[int, ...], channels: int) -> tuple[int, int, int, int]:
    """Return the shape, or raise ValueError if it is not that of weights for so many channels."""
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"weights must have shape (filters, channels, height, width), not {tuple(shape)}")
    if shape[1] != channels:
        raise ValueError(f"weights of shape {tuple(shape)} do not fit images with {channels} channels")
    return shape[0], shape[1], shape[2], shape[3]


def check_dtype(dtype: Any) -> np.dtype:
    """Return the dtype, or raise ValueError if it is neither float32 nor float64."""
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"images and weights must be float32 or float64, not {np.dtype(dtype)}")
    return np.dtype(dtype)


def _workspace(x: np.ndarray, weights: np.ndarray, padding: str) -> LayerWorkspace:
    if x.ndim != 4:
        raise ValueError(f"images must have shape (samples, channels, rows, columns), not {x.shape}")
    samples, channels, rows, columns = x.shape
    return LayerWorkspace(samples, channels, rows, columns, weights.shape, padding, x.dtype)
