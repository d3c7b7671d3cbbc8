"""The article's network by `scipy.signal.convolve`, as the article computed it: one image, one kernel at a time."""

from __future__ import annotations

import numpy as np
import scipy
from scipy.signal import convolve

from workloads import LEARNING_RATE, Workload, numbers

VARIANTS = ("",)


def facts() -> dict[str, str]:
    """Tell what computes."""
    return {"scipy": scipy.__version__}


def prepare(workload: Workload, variant: str, threads: int) -> ScipyNetwork:
    """Bring a workload into memory; SciPy uses one thread."""
    return ScipyNetwork(workload)


class ScipyNetwork:
    """A network of layers with one filter on one channel."""

    def __init__(self, workload: Workload):
        given = numbers(workload)
        self.kernels = [weights[0, 0].copy() for weights, _ in given.layers]
        self.biases = [bias[0] for _, bias in given.layers]
        self.images, self.targets = given.x[:, 0], given.target[:, 0]

    def activations(self, image: np.ndarray) -> list[np.ndarray]:
        """Give the input of every layer and the output of the last, each (rows, columns)."""
        layers = [image]
        for k, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            out = convolve(layers[-1], kernel[::-1, ::-1], mode="same") + bias
            layers.append(np.maximum(out, 0) if k < len(self.kernels) - 1 else out)
        return layers

    def forward(self) -> np.ndarray:
        """Compute the output alone."""
        return np.stack([self.activations(image)[-1] for image in self.images])

    def gradients(self) -> list[np.ndarray]:
        """Go forward and backward; gives the gradients of kernel and bias of each layer in turn."""
        of_kernels = [np.zeros_like(kernel) for kernel in self.kernels]
        of_biases = np.zeros(len(self.biases), np.float32)
        for image, target in zip(self.images, self.targets, strict=True):
            layers = self.activations(image)
            delta = np.float32(2 / self.images.size) * (layers[-1] - target)
            for k in reversed(range(len(self.kernels))):
                kernel = self.kernels[k]
                around = np.pad(layers[k], [(side // 2, side // 2) for side in kernel.shape])
                of_kernels[k] += convolve(around, delta[::-1, ::-1], mode="valid")
                of_biases[k] += delta.sum()
                if k:
                    delta = convolve(delta, kernel, mode="same") * (layers[k] > 0)
        return [gradient for pair in zip(of_kernels, of_biases, strict=True) for gradient in pair]

    def train_step(self) -> None:
        """Descend once."""
        gradients = self.gradients()
        for k, kernel in enumerate(self.kernels):
            kernel -= np.float32(LEARNING_RATE) * gradients[2 * k]
            self.biases[k] -= np.float32(LEARNING_RATE) * gradients[2 * k + 1]

    def results(self) -> dict[str, list[np.ndarray]]:
        """Give the arrays that each phase computes."""
        return {"forward": [self.forward()[:, None]], "train_step": [np.array(g) for g in self.gradients()]}
