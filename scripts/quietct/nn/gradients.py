"""The gradient of a batch, computed by any number of workers with the same result to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quietct.nn.losses import SquaredError
from quietct.nn.network import Network, Workspace
from quietct.nn.workers import Workers, shared_array

# Pixels that go through the network together: enough for long matrix rows, few enough for the processor's cache.
MICRO_BATCH_PIXELS = 16384

Batch = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class BatchGradient:
    """Computes loss and gradient of batches. A context manager, which leaves no worker behind.

    A batch is cut into micro-batches whose size depends on the patch size alone. Each worker reads its own ones,
    takes them through forward and backward pass, and leaves loss and gradient in their slot; the slots are summed in
    the order of the batch. So the sum does not depend on the number of workers.

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
        self.samples = max(1, MICRO_BATCH_PIXELS // (patch_shape[0] * patch_shape[1]))
        slots = -(-largest_batch // self.samples)
        parameters = network.parameters
        self._parameters = shared_array(parameters.shape, parameters.dtype)
        self._gradients = shared_array((slots, parameters.size), parameters.dtype)
        self._losses = shared_array((slots,), np.float64)
        self._workspaces: dict[tuple[int, int], Workspace] = {}
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
        used = -(-len(indices) // self.samples)
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self._losses[:used].sum()), self._gradients[:used].sum(axis=0)

    def _fill_slots(self, worker: int, message: tuple[np.ndarray, float, int, bool]) -> None:
        """Compute one worker's micro-batches: number `worker`, `worker` + count, ..."""
        indices, dilation, turns, flip = message
        if worker and self._workers.kind == "processes":
            self.network.parameters[...] = self._parameters
        rows, columns = self.patch_shape
        loss = SquaredError.from_config(self.loss, len(indices) * rows * columns)
        for slot in range(worker, -(-len(indices) // self.samples), self._workers.count):
            noisy, clean = self.batch(indices[slot * self.samples : (slot + 1) * self.samples])
            noisy, clean = orient(noisy, turns, flip), orient(clean, turns, flip)
            workspace = self._workspace(worker, len(noisy))
            # Each thread has its own error state. What is not finite shows in the loss or the gradient.
            with np.errstate(over="ignore", invalid="ignore"):
                self._losses[slot], delta = loss.value_and_gradient(workspace.forward(noisy), clean)
                self._gradients[slot] = workspace.backward(delta, dilation)

    def _workspace(self, worker: int, samples: int) -> Workspace:
        """Return a worker's memory for micro-batches of one size."""
        if (worker, samples) not in self._workspaces:
            self._workspaces[worker, samples] = Workspace(self.network, samples, *self.patch_shape)
        return self._workspaces[worker, samples]


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
