"""Convolution as its definition says, in a few slow and obvious lines. The tests hold the fast one against it."""

from __future__ import annotations

import numpy as np


def padded(x: np.ndarray, kernel: tuple[int, int], padding: str) -> np.ndarray:
    """Put zeros around images of shape (samples, channels, rows, columns)."""
    around = {
        "valid": [(0, 0) for _ in kernel],
        "same": [((k - 1) // 2, k // 2) for k in kernel],
        "full": [(k - 1, k - 1) for k in kernel],
    }[padding]
    return np.pad(x, [(0, 0), (0, 0), *around])


def conv2d(x: np.ndarray, weights: np.ndarray, bias: np.ndarray, padding: str = "same") -> np.ndarray:
    """Slide each filter over each image: y[n, f, i, j] = b[f] + Σ w[f, c, u, v] · x[n, c, i + u, j + v]."""
    height, width = weights.shape[2:]
    x = padded(x, (height, width), padding)
    rows, columns = x.shape[2] - height + 1, x.shape[3] - width + 1
    y = np.zeros((x.shape[0], weights.shape[0], rows, columns), x.dtype)
    for i in range(rows):
        for j in range(columns):
            y[:, :, i, j] = np.tensordot(x[:, :, i : i + height, j : j + width], weights, ([1, 2, 3], [1, 2, 3])) + bias
    return y


def conv2d_gradients(
    x: np.ndarray, weights: np.ndarray, delta: np.ndarray, padding: str = "same"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of Σ delta · conv2d(x) with respect to x, the weights and the bias, from the same definition."""
    height, width = weights.shape[2:]
    wide = padded(x, (height, width), padding)
    wide_gradient, weight_gradient = np.zeros_like(wide), np.zeros_like(weights)
    for i in range(delta.shape[2]):
        for j in range(delta.shape[3]):
            window = np.s_[:, :, i : i + height, j : j + width]
            wide_gradient[window] += np.tensordot(delta[:, :, i, j], weights, 1)
            weight_gradient += np.tensordot(delta[:, :, i, j].T, wide[window], 1)
    top, left = {"valid": (0, 0), "same": ((height - 1) // 2, (width - 1) // 2), "full": (height - 1, width - 1)}[
        padding
    ]
    x_gradient = wide_gradient[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return x_gradient, weight_gradient, delta.sum(axis=(0, 2, 3))
