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
FEWEST_PIXELS, MOST_PIXELS = 4096, 16384
# Images with more pixels are cut into strips, whose additional rows cost less than they bring.
LARGEST_IMAGE = 65536
# A batch is cut into a multiple of this where it can be: then 2, 4 or 8 workers have equal shares.
EVEN_SHARES = 8

Batch = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class MicroBatch:
    """The part of a batch that one worker computes at a time: some samples, and some of their rows."""

    samples: slice
    strip: Strip


def micro_batches(samples: int, rows: int, columns: int, architecture: Architecture) -> list[MicroBatch]:
    """Cut a batch into parts, in a way that depends on nothing but its shape and the network."""
    pixels = rows * columns
    count = max(-(-samples * pixels // MOST_PIXELS), min(samples * pixels // FEWEST_PIXELS, EVEN_SHARES))
    if count > EVEN_SHARES:
        count = -(-count // EVEN_SHARES) * EVEN_SHARES
    count = min(count, samples)
    edges = [samples * k // count for k in range(count + 1)]
    strips = architecture.strips(rows, -(-pixels // LARGEST_IMAGE))
    return [MicroBatch(slice(*some), strip) for some in pairwise(edges) for strip in strips]


class BatchGradient:
    """Computes loss and gradient of batches. A context manager, which leaves no worker behind.

    A batch is cut into micro-batches, in a way that depends on its shape alone. Each worker reads its own ones, takes
    them through forward and backward pass, and leaves loss and gradient in their slot; the slots are summed in the
    order of the batch. So the sum does not depend on the number of workers.

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
        Number of workers; more than there are micro-batches are not started.
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
        slots = len(micro_batches(largest_batch, *patch_shape, network.architecture))
        parameters = network.parameters
        self._parameters = shared_array(parameters.shape, parameters.dtype)
        self._gradients = shared_array((slots, parameters.size), parameters.dtype)
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
            Orientation of the images, see `orient`.

        Returns
        -------
        loss : float
        gradient : ndarray, shape (n_parameters,)

        Raises
        ------
        WorkerLostError
            If a worker process has been killed or has ended.
        """
        self._parameters[...] = self.network.parameters
        self._workers.run((indices, dilation, turns, flip))
        used = len(micro_batches(len(indices), *self.patch_shape, self.network.architecture))
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self._losses[:used].sum()), self._gradients[:used].sum(axis=0)

    def _fill_slots(self, worker: int, message: tuple[np.ndarray, float, int, bool]) -> None:
        """Compute one worker's micro-batches: number `worker`, `worker` + count, ..."""
        indices, dilation, turns, flip = message
        if worker and self._workers.kind == "processes":
            self.network.parameters[...] = self._parameters
        parts = micro_batches(len(indices), *self.patch_shape, self.network.architecture)
        loss = SquaredError.from_config(self.loss, len(indices) * self.patch_shape[0] * self.patch_shape[1])
        for slot in range(worker, len(parts), self._workers.count):
            strip = parts[slot].strip
            noisy, clean = (orient(images, turns, flip) for images in self.batch(indices[parts[slot].samples]))
            noisy, clean = noisy[:, :, strip.first : strip.last], clean[:, :, strip.start : strip.stop]
            own_rows = slice(strip.start - strip.first, strip.stop - strip.first)
            workspace = self._workspace(worker, len(noisy), strip.last - strip.first)
            # Each thread has its own error state. What is not finite shows in the loss or the gradient.
            with np.errstate(over="ignore", invalid="ignore"):
                output = workspace.forward(noisy)
                self._losses[slot], of_own_rows = loss.value_and_gradient(output[:, :, own_rows], clean)
                delta = np.zeros_like(output)
                delta[:, :, own_rows] = of_own_rows
                self._gradients[slot] = workspace.backward(delta, dilation)

    def _workspace(self, worker: int, samples: int, rows: int) -> Workspace:
        """Return a worker's memory for micro-batches of one size."""
        key = (worker, samples, rows)
        if key not in self._workspaces:
            self._workspaces[key] = Workspace(self.network, samples, rows, self.patch_shape[1])
        return self._workspaces[key]


def orient(images: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """Turn images by `turns` times 90 degrees, then mirror them left to right if `flip` is set.

    Parameters
    ----------
    images : ndarray, shape (samples, 1, rows, columns)
    turns : int
        Even for images that are not square, so that they keep their shape.
    flip : bool

    Returns
    -------
    ndarray
        A view of `images`.
    """
    turned = np.rot90(images, turns, axes=(2, 3))
    return turned[:, :, :, ::-1] if flip else turned
