"""The workloads in PyTorch."""

from __future__ import annotations

import os

import numpy as np
import torch

from workloads import LEARNING_RATE, NORMALISATION, Workload, numbers

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
VARIANTS = tuple(LAYOUTS)
IN_PLACE = "RELU_IN_PLACE" in os.environ  # spares memory, and up to a quarter of the time of a forward pass


def facts() -> dict[str, str]:
    """Tell what computes."""
    return {"torch": f"{torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"}


def prepare(workload: Workload, variant: str, threads: int) -> TorchNetwork | TorchConvolution:
    """Bring a workload into memory.

    Parameters
    ----------
    workload : Workload
    variant : {'contiguous', 'channels_last', 'float64'}
        Memory layout; `float64` is for checks.
    threads : int
    """
    torch.set_num_threads(threads)
    return (TorchNetwork if workload.network else TorchConvolution)(workload, variant)


class Layers(torch.nn.Module):
    """The convolutions of a network, each with its shortcut and its ReLU."""

    def __init__(self, workload: Workload):
        super().__init__()
        self.layers = workload.architecture.layers
        self.kept = {layer.add for layer in self.layers}
        self.convolutions = torch.nn.ModuleList(
            convolution(*given, {"same": layer.kernel // 2, "valid": 0, "full": layer.kernel - 1}[layer.padding])
            for given, layer in zip(numbers(workload).layers, self.layers, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the output, holding on to no more than a later layer adds."""
        outputs = {0: x}
        for k, (layer, convolve) in enumerate(zip(self.layers, self.convolutions, strict=True), start=1):
            x = convolve(x)
            if layer.add is not None:
                x = x + outputs[layer.add]
            if layer.relu:
                x = torch.relu_(x) if IN_PLACE else torch.relu(x)
            if k in self.kept:
                outputs[k] = x
        return x


class TorchNetwork:
    """A network, its data and plain gradient descent."""

    def __init__(self, workload: Workload, variant: str):
        given = numbers(workload)
        self.model = laid_out(Layers(workload), variant)
        self.slice_hu, self.variant = given.slice_hu, variant
        self.x, self.target = (laid_out(torch.from_numpy(array), variant) for array in (given.x, given.target))
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)

    def forward(self) -> torch.Tensor:
        """Compute the output alone."""
        with torch.inference_mode():
            return self.model(self.x)

    def denoise(self) -> np.ndarray:
        """Take a slice in HU to a denoised one in HU."""
        shift, scale = NORMALISATION["shift_hu"], NORMALISATION["scale_hu"]
        with torch.inference_mode():
            image = torch.from_numpy(self.slice_hu).to(self.x.dtype).sub_(shift).div_(scale)
            output = self.model(laid_out(image[None, None], self.variant))
            return output[0, 0].mul_(scale).add_(shift).numpy()

    def gradients(self) -> None:
        """Go forward and backward."""
        self.optimiser.zero_grad()
        torch.nn.functional.mse_loss(self.model(self.x), self.target).backward()

    def train_step(self) -> None:
        """Descend once."""
        self.gradients()
        self.optimiser.step()

    def results(self) -> dict[str, list[np.ndarray]]:
        """Give the arrays that each phase computes."""
        self.gradients()
        return {
            "forward": [self.forward().numpy()],
            "train_step": [parameter.grad.numpy() for parameter in self.model.parameters()],
        }


class TorchConvolution:
    """A single convolution and its gradients."""

    def __init__(self, workload: Workload, variant: str):
        given = numbers(workload)
        self.model = laid_out(convolution(*given.layers[0], padding=0), variant)
        self.x, self.delta = (laid_out(torch.from_numpy(array), variant) for array in (given.x, given.target))

    def forward(self) -> torch.Tensor:
        """Compute the output alone."""
        with torch.inference_mode():
            return self.model(self.x)

    def forward_backward(self) -> tuple[torch.Tensor, ...]:
        """Compute the output, and the gradients with respect to input, weights and bias."""
        x = self.x.detach().requires_grad_()
        return torch.autograd.grad(self.model(x), (x, self.model.weight, self.model.bias), self.delta)

    def results(self) -> dict[str, list[np.ndarray]]:
        """Give the arrays that each phase computes."""
        return {
            "forward": [self.forward().numpy()],
            "forward_backward": [gradient.numpy() for gradient in self.forward_backward()],
        }


def convolution(weights: np.ndarray, bias: np.ndarray, padding: int) -> torch.nn.Conv2d:
    """Make a layer that holds these numbers."""
    filters, channels, height, width = weights.shape
    layer = torch.nn.Conv2d(channels, filters, (height, width), padding=padding)
    with torch.no_grad():
        layer.weight[...], layer.bias[...] = torch.from_numpy(weights), torch.from_numpy(bias)
    return layer


def laid_out(thing: torch.Tensor | torch.nn.Module, variant: str) -> torch.Tensor | torch.nn.Module:
    """Bring a tensor or a module into a variant's memory layout and type."""
    if variant == "float64":
        return thing.to(torch.float64)
    return thing.to(memory_format=LAYOUTS[variant])
