"""The workloads in quietct, that is in NumPy, by as many workers as PyTorch has threads."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from quietct.nn.conv import LayerWorkspace
from quietct.nn.gradients import BatchGradient, share_out
from quietct.nn.inference import TiledInference
from quietct.nn.network import Network, Workspace
from quietct.nn.optimizers import SGD
from quietct.nn.workers import Workers, shared_array
from workloads import LEARNING_RATE, NORMALISATION, Workload, numbers

VARIANTS = ("",)
STRIP = 20  # rows of the result for which the single convolution's workspace has room when it goes backward


def facts() -> dict[str, str]:
    """Tell what computes."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    kernels = ", ".join(
        f"{library['internal_api']} {library['version']}, {library.get('architecture', 'unknown')} kernels"
        for library in libraries
    )
    return {"numpy": f"{np.__version__} ({kernels})"}


def prepare(workload: Workload, variant: str, threads: int) -> NumpyNetwork | NumpyConvolution:
    """Bring a workload into memory. Workers start, and make their workspaces, at the first use."""
    threadpool_limits(1, "blas")
    return (NumpyNetwork if workload.network else NumpyConvolution)(workload, threads)


class NumpyNetwork:
    """A network, its data and plain gradient descent."""

    def __init__(self, workload: Workload, threads: int):
        given = numbers(workload)
        self.x, self.target, self.threads = given.x, given.target, threads
        self.slice_hu = given.slice_hu
        self.everything = np.arange(len(self.x))
        self.network = Network(workload.architecture)
        for layer, given_layer in zip(self.network.layers, given.layers, strict=True):
            for array, given_array in zip(layer, given_layer, strict=True):
                array[...] = given_array
        self.optimiser = SGD(self.network.parameters.size)
        self.running = ExitStack()  # ends with this process

    @cached_property
    def batch_gradient(self) -> BatchGradient:
        """The library's forward and backward pass."""

        def batch(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self.x[indices], self.target[indices]

        loss = {"kind": "mean_squared_error"}
        return self.running.enter_context(
            BatchGradient(self.network, loss, batch, self.x.shape[2:], len(self.x), self.threads)
        )

    @cached_property
    def inference(self) -> TiledInference:
        """The library's way to denoise one large image."""
        return self.running.enter_context(TiledInference(self.network, *self.x.shape[2:], threads=self.threads))

    @cached_property
    def batch_forward(self) -> Workers:
        """Forward passes of about as many samples at a time as in training."""
        self.output = shared_array(self.x.shape, self.x.dtype)
        shares = share_out(len(self.x), *self.x.shape[2:], self.network.architecture)
        self.parts = [self.everything[part.samples] for share in shares for part in share]
        self.workspaces: dict[tuple[int, int], Workspace] = {}
        return self.running.enter_context(Workers(self.share_of_forward, self.threads))

    def share_of_forward(self, worker: int, message: Any) -> None:
        """Do one worker's parts."""
        for part in self.parts[worker :: self.threads]:
            if (worker, len(part)) not in self.workspaces:
                self.workspaces[worker, len(part)] = Workspace(self.network, len(part), *self.x.shape[2:])
            self.output[part] = self.workspaces[worker, len(part)].forward(self.x[part])

    def forward(self) -> np.ndarray:
        """Compute the output alone."""
        if len(self.x) == 1:
            return self.inference(self.x[0, 0])[None, None]
        self.batch_forward.run(None)
        return self.output

    def denoise(self) -> np.ndarray:
        """Take a slice in HU to a denoised one in HU."""
        return self.inference.denoise_hu(self.slice_hu, NORMALISATION)

    def gradient(self) -> np.ndarray:
        """Go forward and backward."""
        return self.batch_gradient(self.everything)[1]

    def train_step(self) -> None:
        """Descend once."""
        self.optimiser.update(self.network.parameters, self.gradient(), LEARNING_RATE)

    def results(self) -> dict[str, list[np.ndarray]]:
        """Give the arrays that each phase computes."""
        layers = self.network.split(self.gradient())
        return {"forward": [self.forward()], "train_step": [array for layer in layers for array in layer]}


class NumpyConvolution:
    """A single convolution and its gradients; each worker takes its part of the samples."""

    def __init__(self, workload: Workload, threads: int):
        given = numbers(workload)
        self.x, self.delta, (self.weights, self.bias) = given.x, given.target, given.layers[0]
        self.parts = [part for part in np.array_split(np.arange(len(self.x)), threads) if len(part)]
        self.running = ExitStack()  # ends with this process

    @cached_property
    def workers(self) -> Workers:
        """Start the workers, with shared memory for the results."""
        self.y, self.x_gradient = shared_array(self.delta.shape, np.float32), shared_array(self.x.shape, np.float32)
        self.weight_gradients = shared_array((len(self.parts), *self.weights.shape), np.float32)
        self.bias_gradients = shared_array((len(self.parts), *self.bias.shape), np.float32)
        self.workspaces: dict[tuple[int, int], LayerWorkspace] = {}
        return self.running.enter_context(Workers(self.share, len(self.parts)))

    def workspace(self, worker: int, rows: int) -> LayerWorkspace:
        """Give a worker's memory for some rows of an image."""
        if (worker, rows) not in self.workspaces:
            shape = (1, self.x.shape[1], rows, self.x.shape[3])
            self.workspaces[worker, rows] = LayerWorkspace(*shape, self.weights.shape, "valid", self.x.dtype)
        return self.workspaces[worker, rows]

    def share(self, worker: int, backward: bool) -> None:
        """Do one worker's part, a sample at a time."""
        self.weight_gradients[worker], self.bias_gradients[worker] = 0, 0
        for k in self.parts[worker]:
            if backward:
                self.forward_backward_of(k, worker)
            else:
                workspace, one = self.workspace(worker, self.x.shape[2]), slice(k, k + 1)
                workspace.forward(self.x[one], self.weights, self.bias, out=self.y[one])

    def forward_backward_of(self, k: int, worker: int) -> None:
        """Take a sample forward and backward, in strips, so that the workspace stays small.

        The step gives back gradients alone. So, as in training, an output's memory serves again: the output of a strip
        lies where the gradient of its input will be. Strips of the input overlap, and their gradients add up there.
        """
        rows, columns = self.delta.shape[2:]
        overlap = self.weights.shape[2] - 1
        self.x_gradient[k, :, :overlap] = 0
        for start in range(0, rows, STRIP):
            stop = min(start + STRIP, rows)
            x, delta = self.x[k : k + 1, :, start : stop + overlap], self.delta[k : k + 1, :, start:stop]
            x_gradient = self.x_gradient[k : k + 1, :, start : stop + overlap]
            of_strip_above = x_gradient[:, :, :overlap].copy()
            workspace = self.workspace(worker, stop - start + overlap)
            workspace.forward(x, self.weights, self.bias, out=x_gradient[:, :, : stop - start, :columns])
            _, weight_gradient, bias_gradient = workspace.backward(delta, self.weights, out=x_gradient)
            x_gradient[:, :, :overlap] += of_strip_above
            self.weight_gradients[worker] += weight_gradient
            self.bias_gradients[worker] += bias_gradient

    def forward(self) -> np.ndarray:
        """Compute the output alone."""
        self.workers.run(False)
        return self.y

    def forward_backward(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute the output, and the gradients with respect to input, weights and bias."""
        self.workers.run(True)
        for of_parts in (self.weight_gradients, self.bias_gradients):
            for of_part in of_parts[1:]:
                of_parts[0] += of_part
        return self.x_gradient, self.weight_gradients[0], self.bias_gradients[0]

    def results(self) -> dict[str, list[np.ndarray]]:
        """Give the arrays that each phase computes."""
        y = self.forward().copy()  # the other phase writes over some of it
        return {"forward": [y], "forward_backward": list(self.forward_backward())}
