"""The gradient of a batch, computed by one or more threads with the same result to the last bit."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from quietct.nn.losses import SquaredError
from quietct.nn.network import Network, Workspace

# Pixels that go through the network together: enough for long matrix rows, few enough for the processor's cache.
MICRO_BATCH_PIXELS = 16384


class GradientWorkers:
    """Computes loss and gradient of batches.

    A batch is cut into micro-batches whose size depends on the image size alone. Each thread takes micro-batches
    through forward and backward pass; their gradients are summed in the order of the batch. So the sum does not
    depend on the number of threads. NumPy releases the interpreter lock inside its matrix products.

    Parameters
    ----------
    network : Network
    loss : mapping
        The configuration's `loss`.
    threads : int
    """

    def __init__(self, network: Network, loss: Mapping[str, Any], threads: int = 1):
        self.network = network
        self.loss = loss
        self._workspaces = threading.local()
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> GradientWorkers:
        """Use as a context manager, so that no thread is left behind."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the threads."""
        self._pool.shutdown(cancel_futures=True)

    def loss_and_gradient(
        self, noisy: np.ndarray, clean: np.ndarray, dilation: float = 0.0
    ) -> tuple[float, np.ndarray]:
        """Loss and gradient of one batch.

        Parameters
        ----------
        noisy, clean : ndarray, shape (samples, 1, rows, columns)
            Input and target, normalised.
        dilation : float
            λ of dilated back-propagation.

        Returns
        -------
        loss : float
        gradient : ndarray, shape (n_parameters,)
        """
        loss = SquaredError.from_config(self.loss, clean.size)
        at_a_time = max(1, MICRO_BATCH_PIXELS // (noisy.shape[2] * noisy.shape[3]))
        starts = range(0, len(noisy), at_a_time)

        def propagate(start: int) -> tuple[float, np.ndarray]:
            some = slice(start, start + at_a_time)
            workspace = self._workspace(noisy[some].shape)
            # Each thread has its own error state. What is not finite shows in the loss or the gradient.
            with np.errstate(over="ignore", invalid="ignore"):
                value, delta = loss.value_and_gradient(workspace.forward(noisy[some]), clean[some])
                return value, workspace.backward(delta, dilation)

        total, gradient = 0.0, np.zeros_like(self.network.parameters)
        for value, part in self._pool.map(propagate, starts):
            total += value
            gradient += part
        return total, gradient

    def _workspace(self, shape: tuple[int, ...]) -> Workspace:
        """Return this thread's memory for micro-batches of one shape."""
        known = self._workspaces.__dict__
        key = str(shape)
        if key not in known:
            known[key] = Workspace(self.network, shape[0], shape[2], shape[3])
        return known[key]
