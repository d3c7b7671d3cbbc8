"""A network's parameters, its forward and its backward pass."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np

from quietct.nn.architecture import Architecture
from quietct.nn.conv.canvas import Scratch
from quietct.nn.conv.layer import Convolution


class Network:
    """Weights and biases of an architecture, in one flat vector.

    Parameters
    ----------
    architecture : Architecture
    dtype : numpy dtype
        float32, or float64 for checks.
    new_array : callable
        Makes an array of zeros of a shape and a dtype, for the parameters: in shared memory, if it is `shared_array`.

    Attributes
    ----------
    parameters : ndarray, shape (n_parameters,)
        All weights and biases. Optimisers work on this vector.
    layers : list of (weights, bias)
        Views into `parameters`.
    arrays : list of slice
        Where each layer's weights and each layer's bias lie in `parameters`, and in their gradient.
    """

    def __init__(
        self, architecture: Architecture, dtype: Any = np.float32, new_array: Callable[..., np.ndarray] = np.zeros
    ):
        self.architecture = architecture
        size = sum(prod(shape) + shape[0] for shape in architecture.weight_shapes)
        self.parameters = new_array((size,), dtype)
        self.layers = self.split(self.parameters)
        ends = accumulate(array.size for layer in self.layers for array in layer)
        self.arrays = [slice(*both) for both in pairwise([0, *ends])]

    def split(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """View a vector of all parameters, or of their gradients, as (weights, bias) per layer."""
        layers, start = [], 0
        for shape in self.architecture.weight_shapes:
            middle = start + prod(shape)
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
        """Run images of shape (samples, 1, rows, columns) through the network.

        Each image is computed by itself, but for what is not a number: a NaN or an infinity may spread to the other
        images of the batch.
        """
        samples, _, rows, columns = images.shape
        return Workspace(self, samples, rows, columns).forward(images)


class Workspace:
    """One forward and backward pass over images of one size, with all its memory allocated once.

    Parameters
    ----------
    network : Network
    samples, rows, columns : int
        Number and size of the images.
    """

    def __init__(self, network: Network, samples: int, rows: int, columns: int):
        self.network, self.layers = network, network.architecture.layers
        self.shape = (samples, 1, rows, columns)
        self.frame, self.regions = network.architecture.place(samples, rows, columns)
        self.scratch = Scratch(network.parameters.dtype)
        self.convolutions = [
            Convolution(self.frame, shape, source, result, self.scratch)
            for shape, source, result in zip(
                network.architecture.weight_shapes, self.regions, self.regions[1:], strict=False
            )
        ]
        # A ReLU turns minus infinity into the zeros that must surround the pixels.
        self.gaps = [np.where(self.frame.pixel_columns(region), 0, -np.inf) for region in self.regions]
        self.ones = np.ones(self.frame.width, self.scratch.dtype)
        self.activations = self._canvases()
        self._deltas: list[np.ndarray] | None = None

    @property
    def deltas(self) -> list[np.ndarray]:
        """Canvases of the gradient with respect to each layer's output; inference never asks for them."""
        if self._deltas is None:
            self._deltas = self._canvases()
        return self._deltas

    def forward(self, images: np.ndarray, rows: slice | None = None) -> np.ndarray:
        """Compute the network's output.

        Parameters
        ----------
        images : ndarray, shape (samples, 1, rows, columns)
        rows : slice, optional
            Rows of the output that are wanted; the others may hold anything, and no `backward` may follow.

        Returns
        -------
        ndarray of the same shape
        """
        if images.shape != self.shape:
            raise ValueError(f"images must have shape {self.shape}, not {images.shape}")
        self.frame.images(self.activations[0], self.regions[0])[...] = images
        wanted = self.network.architecture.rows_computed(rows.start, rows.stop) if rows else None
        for k, (weights, bias) in enumerate(self.network.layers):
            self._activate(k, weights, bias, wanted[k] if wanted else None)
        return self.frame.images(self.activations[-1], self.regions[-1]).copy()

    def backward(self, delta: np.ndarray, dilation: float = 0.0) -> np.ndarray:
        """Back-propagate after `forward`.

        Parameters
        ----------
        delta : ndarray, shape (samples, 1, rows, columns)
            Gradient of the loss with respect to the output.
        dilation : float
            λ of dilated back-propagation. What layer k hands on to layer k - 1 is δ_k + λ · Σ_{j>k} δ_j, each later
            δ_j averaged over its channels; a layer's own gradient stays that of the plain δ_k it received, and
            shortcuts hand on the plain δ_k too. With λ = 0 this is the gradient of the loss.

        Returns
        -------
        ndarray, shape (n_parameters,)
            Gradient in the order of `Network.parameters`.
        """
        gradient = np.empty_like(self.network.parameters)
        of_layer = self.network.split(gradient)
        last = self.frame.images(self.deltas[-1], self.regions[-1])
        last[...] = delta
        if self.layers[-1].relu:
            last *= self.frame.images(self.activations[-1], self.regions[-1]) > 0
        later: np.ndarray | None = None
        for k in reversed(range(len(self.layers))):
            delta = self.deltas[k + 1]
            weight_gradient, bias_gradient = of_layer[k]
            weight_gradient[...] = self.convolutions[k].weight_gradient(self.activations[k], delta)
            by_row = self.frame.body(delta, self.regions[k + 1].row_range) @ self.ones
            bias_gradient[...] = np.add.reduce(by_row, axis=0, dtype=np.float64)
            if k == 0:
                break
            if dilation:
                delta, later = self._dilate(k, delta, later, dilation)
            self._hand_on(k, delta)
        return gradient

    def _activate(self, k: int, weights: np.ndarray, bias: np.ndarray, wanted: slice | None) -> None:
        """Compute the output of layer k (from 0): convolution, bias, shortcut, ReLU."""
        layer, canvas, region = self.layers[k], self.activations[k + 1], self.regions[k + 1]
        shift = self.scratch("shift", len(bias), self.frame.width)
        np.add(bias[:, None], self.gaps[k + 1], out=shift)
        if wanted:
            of_image, own = self.regions[0].top, region.row_range
            wanted = slice(max(wanted.start + of_image, own.start), min(wanted.stop + of_image, own.stop))
        for rows, block in self.convolutions[k].forward(self.activations[k], weights, wanted):
            if layer.add is not None:
                block += self.frame.body(self.activations[layer.add], rows)
            block += shift
            if layer.relu:
                np.clip(block, 0, np.inf, out=self.frame.body(canvas, rows))
            else:
                self.frame.deal(block, rows, region, self.frame.images(canvas, region))

    def _hand_on(self, k: int, delta: np.ndarray) -> None:
        """Take a gradient back through the convolution of layer k, and through the ReLU before it."""
        weights, _ = self.network.layers[k]
        canvas, activation = self.deltas[k], self.activations[k]
        shortcuts = [self.deltas[j + 1] for j, layer in enumerate(self.layers) if layer.add == k]
        for rows, block in self.convolutions[k].input_gradient(delta, weights):
            for shortcut in shortcuts:
                block += self.frame.body(shortcut, rows)
            if self.layers[k - 1].relu:
                # Zero in the gaps too, so that these stay zero.
                np.multiply(block, self.frame.body(activation, rows) > 0, out=self.frame.body(canvas, rows))
            else:
                self.frame.deal(block, rows, self.regions[k], self.frame.images(canvas, self.regions[k]))

    def _dilate(
        self, k: int, delta: np.ndarray, later: np.ndarray | None, dilation: float
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Add to the delta of layer k (from 0) what comes from later layers.

        Parameters
        ----------
        k : int
        delta : ndarray
            Canvas; overwritten unless a shortcut hands on the plain delta after this.
        later : ndarray or None
            Sum of the later layers' deltas, averaged over their channels; none at the last layer.
        dilation : float

        Returns
        -------
        dilated, later : ndarray
            Delta to hand on, and the sum for layer k - 1; none for the first layer, which hands on nothing.
        """
        summed = None
        if k > 1:
            channels = delta.shape[1]
            # A product is faster than `mean`.
            mean = np.full((1, channels), 1 / channels, delta.dtype) @ delta if channels > 1 else delta
            summed = mean if later is None else mean + later
        if later is None:
            return delta, summed
        if len(set(self.regions)) > 1:  # pixels that this layer does not have get nothing
            within, region = self.frame.empty(1, delta.dtype), self.regions[k + 1]
            self.frame.images(within, region)[...] = self.frame.images(later, region)
            later = within
        addend = np.multiply(later, dilation, out=self.scratch("addend", *later.shape))
        return np.add(delta, addend, out=delta if self.layers[k].add is None else None), summed

    def _canvases(self) -> list[np.ndarray]:
        dtype = self.network.parameters.dtype
        return [self.frame.empty(channels, dtype) for channels in self.network.architecture.channels]
