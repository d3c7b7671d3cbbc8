"""A stack of convolution layers with ReLU between them: its parameters, its forward and its backward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quietct.nn.canvas import Geometry
from quietct.nn.conv import Convolution

# Rows of an image that are denoised at a time, so that memory does not grow with the image.
STRIP_ROWS = 64


@dataclass(frozen=True)
class Architecture:
    """What a network is made of.

    Parameters
    ----------
    layers : tuple of (filters, kernel)
        Output channels and kernel size (pixels) of each convolution. A ReLU follows each but the last.
    residual : bool
        The network computes a correction that is added to its input.
    """

    layers: tuple[tuple[int, int], ...]
    residual: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Architecture:
        """Read the entry of a network in the configuration: {'layers': [{'filters', 'kernel'}], 'residual'}."""
        layers = tuple((layer["filters"], layer["kernel"]) for layer in config["layers"])
        return cls(layers, config.get("residual", False))

    def to_config(self) -> dict[str, Any]:
        """Write the entry that `from_config` reads."""
        layers = [{"filters": filters, "kernel": kernel} for filters, kernel in self.layers]
        return {"layers": layers, "residual": self.residual}

    @property
    def weight_shapes(self) -> list[tuple[int, int, int, int]]:
        """Shape (out_channels, in_channels, height, width) of each layer's weights."""
        channels = [1, *(filters for filters, _ in self.layers)]
        return [
            (filters, before, kernel, kernel) for before, (filters, kernel) in zip(channels, self.layers, strict=False)
        ]

    @property
    def border(self) -> int:
        """Zeros that the widest kernel needs around an image, pixels."""
        return max(kernel // 2 for _, kernel in self.layers)

    @property
    def reach(self) -> int:
        """How far away an input pixel can be to influence an output pixel."""
        return sum(kernel // 2 for _, kernel in self.layers)


class Network:
    """Weights and biases of an architecture, in one flat vector.

    Parameters
    ----------
    architecture : Architecture
    dtype : numpy dtype
        float32, or float64 for checks.

    Attributes
    ----------
    parameters : ndarray, shape (n_parameters,)
        All weights and biases. Optimisers work on this vector.
    layers : list of (weights, bias)
        Views into `parameters`.
    """

    def __init__(self, architecture: Architecture, dtype: Any = np.float32):
        self.architecture = architecture
        size = sum(int(np.prod(shape)) + shape[0] for shape in architecture.weight_shapes)
        self.parameters = np.zeros(size, dtype)
        self.layers = self.split(self.parameters)

    def split(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """View a vector of all parameters, or of their gradients, as (weights, bias) per layer."""
        layers, start = [], 0
        for shape in self.architecture.weight_shapes:
            middle = start + int(np.prod(shape))
            layers.append((vector[start:middle].reshape(shape), vector[middle : middle + shape[0]]))
            start = middle + shape[0]
        return layers

    def initialise(self, rng: np.random.Generator, kind: str = "he", std: float = 0.001, gain: float = 1.0) -> None:
        """Draw the weights; biases become zero.

        Parameters
        ----------
        rng : Generator
        kind : {'he', 'normal'}
            `he`: N(0, gain² · 2 / inputs of the filter), He et al. 2015, arXiv 1502.01852; `normal`: N(0, std²).
        std : float
            Used by `normal`.
        gain : float
            Used by `he`. 1 keeps the spread of activations; with less, a filter's initial noise is unlearned sooner.
        """
        for weights, bias in self.layers:
            spread = gain * np.sqrt(2 / weights[0].size) if kind == "he" else std
            weights[...] = spread * rng.standard_normal(weights.shape)
            bias[...] = 0

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Run images of shape (samples, 1, rows, columns) through the network."""
        return Workspace(self, *images.shape[:1], *images.shape[2:]).forward(images)

    def apply_in_strips(self, image: np.ndarray) -> np.ndarray:
        """Run one image through the network, a strip of rows at a time.

        Each strip is read with as many more rows as the network can see, so the result is that of the whole image.

        Parameters
        ----------
        image : ndarray, shape (rows, columns)

        Returns
        -------
        ndarray, shape (rows, columns)
        """
        result = np.empty(image.shape, self.parameters.dtype)
        reach = self.architecture.reach
        for start in range(0, len(image), STRIP_ROWS):
            stop = min(start + STRIP_ROWS, len(image))
            first, last = max(start - reach, 0), min(stop + reach, len(image))
            strip = self.apply(image[None, None, first:last])[0, 0]
            result[start:stop] = strip[start - first : stop - first]
        return result


class Workspace:
    """One forward and backward pass over images of one size, with all its memory allocated once.

    Parameters
    ----------
    network : Network
    samples, rows, columns : int
        Number and size of the images.
    """

    def __init__(self, network: Network, samples: int, rows: int, columns: int):
        self.network = network
        architecture = network.architecture
        self.geometry = Geometry(samples, rows, columns, architecture.border)
        self.convolutions = [Convolution(self.geometry, shape) for shape in architecture.weight_shapes]
        dtype = network.parameters.dtype
        channels = [1, *(filters for filters, _ in architecture.layers)]
        self.activations = [self.geometry.empty(count, dtype) for count in channels]
        self._deltas: list[np.ndarray] | None = None

    @property
    def deltas(self) -> list[np.ndarray]:
        """Gradient canvases per layer output; inference never asks for them."""
        if self._deltas is None:
            self._deltas = [np.zeros_like(activation) for activation in self.activations[1:]]
        return self._deltas

    def forward(self, images: np.ndarray) -> np.ndarray:
        """Compute the network's output.

        Parameters
        ----------
        images : ndarray, shape (samples, 1, rows, columns)

        Returns
        -------
        ndarray of the same shape
        """
        self.geometry.images(self.activations[0])[...] = images
        last = len(self.convolutions) - 1
        for k, ((weights, bias), convolution) in enumerate(zip(self.network.layers, self.convolutions, strict=True)):
            out = self.activations[k + 1]
            convolution.forward(self.activations[k], weights, bias, out)
            if k < last:
                np.maximum(out, 0, out=out)
        output = self.geometry.images(self.activations[-1]).copy()
        return output + images if self.network.architecture.residual else output

    def backward(self, delta: np.ndarray, dilation: float = 0.0) -> np.ndarray:
        """Back-propagate after `forward`.

        Parameters
        ----------
        delta : ndarray, shape (samples, 1, rows, columns)
            Gradient of the loss with respect to the output.
        dilation : float
            λ of dilated back-propagation. What layer k hands on to layer k - 1 is δ_k + λ · Σ_{j>k} δ_j, each later
            δ_j averaged over its channels; a layer's own gradient stays that of the plain δ_k it received. With
            λ = 0 this is the gradient of the loss.

        Returns
        -------
        ndarray, shape (n_parameters,)
            Gradient in the order of `Network.parameters`.
        """
        gradient = np.empty_like(self.network.parameters)
        of_layer = self.network.split(gradient)
        self.geometry.images(self.deltas[-1])[...] = delta
        later: np.ndarray | float = 0.0
        for k in reversed(range(len(self.convolutions))):
            received, convolution = self.deltas[k], self.convolutions[k]
            of_layer[k][0][...], of_layer[k][1][...] = convolution.weight_gradient(self.activations[k], received)
            if k == 0:
                break
            if dilation:
                mean = received.mean(axis=1, keepdims=True)
                received += dilation * later
                later = later + mean
            convolution.input_gradient(received, self.network.layers[k][0], self.deltas[k - 1])
            stop_where_inactive(self.deltas[k - 1], self.activations[k])
        return gradient


def stop_where_inactive(delta: np.ndarray, activation: np.ndarray) -> None:
    """Set `delta` to zero, in place, wherever a ReLU gave zero.

    An activation is never negative, so it is zero exactly where its bits are: (bits > 0) as a mask of all ones or
    all zeros takes two integer operations, a third faster than multiplying by a boolean array.
    """
    integer = np.int32 if delta.dtype == np.float32 else np.int64
    mask = np.negative(activation.view(integer))
    np.right_shift(mask, np.iinfo(integer).bits - 1, out=mask)
    bits = delta.view(integer)
    np.bitwise_and(bits, mask, out=bits)
