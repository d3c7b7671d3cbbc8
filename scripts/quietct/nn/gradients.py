"""The gradient of a batch, computed by any number of workers with the same result to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from quietct.nn.architecture import Architecture, Strip
from quietct.nn.losses import SquaredError
from quietct.nn.network import Network, Workspace
from quietct.nn.workers import Workers, shared_array

# Pixels that go through the network together: enough for long matrix rows, few enough for the processor's cache.
TOGETHER = 4608
# Images with more pixels are cut into strips, whose additional rows cost less than they bring.
LARGEST_IMAGE = 65536
# A batch is cut into at most so many shares, one of which is the least that a worker does.
SHARES = 16

Batch = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class MicroBatch:
    """The part of a batch that goes through the network at a time: some samples, and some of their rows."""

    samples: slice
    strip: Strip


def share_out(samples: int, rows: int, columns: int, architecture: Architecture) -> list[list[MicroBatch]]:
    """Cut a batch into shares of one or more micro-batches, by nothing but its shape and the network."""
    pixels = rows * columns
    count = -(-samples // max(TOGETHER // pixels, 1))
    strips = architecture.strips(rows, -(-pixels // LARGEST_IMAGE))
    micro_batches = [MicroBatch(some, strip) for some in evenly(samples, count) for strip in strips]
    return [micro_batches[some] for some in evenly(len(micro_batches), min(SHARES, len(micro_batches)))]


def evenly(length: int, count: int) -> list[slice]:
    """Cut a sequence into parts whose lengths differ by at most one."""
    return [slice(*ends) for ends in pairwise(length * k // count for k in range(count + 1))]


class BatchGradient:
    """Computes loss and gradient of batches. A context manager, which leaves no worker behind.

    A batch is cut into shares, in a way that depends on its shape alone. Each worker reads the micro-batches of its
    own shares, takes them through forward and backward pass, and leaves their summed loss and gradient in the slot of
    the share; the slots are summed in the order of the batch. So the sum does not depend on the number of workers.

    Parameters
    ----------
    network : Network
        Each call uses its parameters as they then are.
    loss : mapping
        The configuration's `loss`.
    batch : callable
        Takes indices, returns noisy and clean images, normalised, each (samples, 1, rows, columns). Called by the
        workers, each for its own micro-batches; files opened before the context begins serve all of them.
    patch_shape : (rows, columns)
        Size of the images, pixels.
    largest_batch : int
        Samples of the largest batch.
    threads : int
        Number of workers; more than there are shares are not started.
    kind : {'', 'processes', 'threads'}
        As in `Workers`.
    """

    def __init__(
        self,
        network: Network,
        loss: Mapping[str, Any],
        batch: Batch,
        patch_shape: tuple[int, int],
        largest_batch: int,
        threads: int = 1,
        kind: str = "",
    ):
        self.network, self.loss, self.batch, self.patch_shape = network, loss, batch, patch_shape
        self._shares: dict[int, list[list[MicroBatch]]] = {}  # by number of samples
        slots = len(self._share_out(largest_batch))
        dtype = network.parameters.dtype
        self._shared = Network(network.architecture, dtype, shared_array)  # what the workers compute with
        self._gradients = shared_array((slots, network.parameters.size), dtype)
        self._losses = shared_array((slots,), np.float64)
        self._workspaces: dict[tuple[int, int, int], Workspace] = {}
        self._workers = Workers(self._fill_slots, min(threads, slots), kind)

    def __enter__(self) -> BatchGradient:
        """Start the workers."""
        self._workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the workers."""
        self._workers.__exit__(*error)

    def __call__(
        self, indices: np.ndarray, dilation: float = 0.0, turns: int = 0, flip: bool = False
    ) -> tuple[float, np.ndarray]:
        """Loss and gradient of one batch.

        Parameters
        ----------
        indices : ndarray of int
            Samples of the batch, at most `largest_batch`.
        dilation : float
            λ of dilated back-propagation.
        turns, flip : int, bool
            Orientation in which the network sees the images, see `orient`. Not the images are turned but the kernels,
            the other way round, and their gradient back: the same numbers, and kernels are small.

        Returns
        -------
        loss : float
        gradient : ndarray, shape (n_parameters,)

        Raises
        ------
        WorkerLostError
            If a worker process has been killed or has ended.
        """
        back = (turns, True) if flip else (-turns, False)
        self._orient(self.network.parameters, self._shared.parameters, *back)
        self._workers.run((indices, dilation))
        used = len(self._share_out(len(indices)))
        with np.errstate(over="ignore", invalid="ignore"):
            loss, turned = float(self._losses[:used].sum()), self._gradients[:used].sum(axis=0)
        gradient = np.empty_like(turned)
        self._orient(turned, gradient, turns, flip)
        return loss, gradient

    def _orient(self, vector: np.ndarray, out: np.ndarray, turns: int, flip: bool) -> None:
        """Copy a vector of all parameters, or of their gradients, with all kernels turned."""
        for (weights, bias), (to_weights, to_bias) in zip(
            self.network.split(vector), self.network.split(out), strict=True
        ):
            to_weights[...], to_bias[...] = orient(weights, turns, flip), bias

    def _fill_slots(self, worker: int, message: tuple[np.ndarray, float]) -> None:
        """Compute one worker's shares: number `worker`, `worker` + count, ..."""
        indices, dilation = message
        shares = self._share_out(len(indices))
        loss = SquaredError.from_config(self.loss, len(indices) * self.patch_shape[0] * self.patch_shape[1])
        for slot in range(worker, len(shares), self._workers.count):
            self._losses[slot], self._gradients[slot] = 0, 0
            for part in shares[slot]:
                noisy, clean = self.batch(indices[part.samples])
                # Each thread has its own error state. What is not finite shows in the loss or the gradient.
                with np.errstate(over="ignore", invalid="ignore"):
                    value, gradient = self._propagate(worker, noisy, clean, part.strip, loss, dilation)
                    self._losses[slot] += value
                    self._gradients[slot] += gradient

    def _propagate(
        self, worker: int, noisy: np.ndarray, clean: np.ndarray, strip: Strip, loss: SquaredError, dilation: float
    ) -> tuple[float, np.ndarray]:
        """Loss and gradient of the strip's own rows."""
        noisy, clean = noisy[:, :, strip.first : strip.last], clean[:, :, strip.start : strip.stop]
        own = slice(strip.start - strip.first, strip.stop - strip.first)
        workspace = self._workspace(worker, len(noisy), strip.last - strip.first)
        output = workspace.forward(noisy)
        value, of_own = loss.value_and_gradient(output[:, :, own], clean)
        delta = output  # its memory serves again
        delta[:, :, : own.start], delta[:, :, own], delta[:, :, own.stop :] = 0, of_own, 0
        return value, workspace.backward(delta, dilation)

    def _share_out(self, samples: int) -> list[list[MicroBatch]]:
        """Cut a batch into shares, or remember how it was done."""
        if samples not in self._shares:
            self._shares[samples] = share_out(samples, *self.patch_shape, self.network.architecture)
        return self._shares[samples]

    def _workspace(self, worker: int, samples: int, rows: int) -> Workspace:
        """Return a worker's memory for micro-batches of one size."""
        key = (worker, samples, rows)
        if key not in self._workspaces:
            self._workspaces[key] = Workspace(self._shared, samples, rows, self.patch_shape[1])
        return self._workspaces[key]


def orient(images: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """Turn images by `turns` times 90 degrees counterclockwise, then mirror them left to right if `flip` is set.

    Parameters
    ----------
    images : ndarray, shape (..., rows, columns)
    turns : int
    flip : bool

    Returns
    -------
    ndarray
        A view of `images`.
    """
    turned = images.swapaxes(-2, -1)[..., ::-1, :] if turns % 2 else images
    if turns % 4 >= 2:
        turned = turned[..., ::-1, ::-1]
    return turned[..., ::-1] if flip else turned
