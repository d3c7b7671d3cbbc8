"""What is computed: networks and images, with the same numbers for every contender."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from quietct.nn.architecture import Architecture, Layer

NETWORKS = {
    # Chen et al., arXiv 1610.00321
    "chen2017": Architecture((Layer(64, 9), Layer(32, 3), Layer(1, 5, relu=False))),
    # The article's
    "article": Architecture((Layer(1, 3), Layer(1, 3), Layer(1, 3, relu=False))),
    # Chen et al., arXiv 1702.00288, with 16 instead of 96 filters
    "redcnn": Architecture(
        (
            *(Layer(16, 5, "valid") for _ in range(5)),
            Layer(16, 5, "full", add=4),
            Layer(16, 5, "full"),
            Layer(16, 5, "full", add=2),
            Layer(16, 5, "full"),
            Layer(1, 5, "full", add=0),
        )
    ),
}
NORMALISATION = {"shift_hu": -600.0, "scale_hu": 750.0}  # a network sees (HU - shift) / scale
LEARNING_RATE = 1e-4  # small, so that hundreds of steps keep the numbers as ordinary as they were


@dataclass(frozen=True)
class Workload:
    """A network, or a single convolution, on a batch of square images.

    Parameters
    ----------
    name : str
        One letter.
    title : str
    samples, side : int
        Number of images, and their rows and columns (pixels).
    network : str
        A key of `NETWORKS`; empty: one convolution from 96 to 96 channels, 5 × 5, padding `valid`.
    """

    name: str
    title: str
    samples: int
    side: int
    network: str = ""

    @property
    def architecture(self) -> Architecture:
        """The network."""
        return NETWORKS[self.network]

    @property
    def phases(self) -> tuple[str, str]:
        """What is timed.

        A `train_step` is forward pass, mean squared error, backward pass and plain gradient descent;
        `forward_backward` is the convolution and its three gradients.
        """
        return ("forward", "train_step") if self.network else ("forward", "forward_backward")

    def shrunk(self, samples: int, side: int) -> Workload:
        """Give the same work on fewer and smaller images."""
        return replace(self, samples=min(samples, self.samples), side=min(side, self.side))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("a", "chen2017 on 64 images of 33²", 64, 33, "chen2017"),
        Workload("b", "chen2017 on 4 of 256²", 4, 256, "chen2017"),
        Workload("c", "chen2017 on 32 of 64²", 32, 64, "chen2017"),
        Workload("d", "chen2017 on 1 of 512²", 1, 512, "chen2017"),
        Workload("e", "the article's network on 4 of 256²", 4, 256, "article"),
        Workload("f", "a convolution, 96 to 96 channels, 5 x 5, valid, on 8 of 64²", 8, 64),
        Workload("g", "RED-CNN with 16 filters on 16 of 64²", 16, 64, "redcnn"),
    )
}


@dataclass(frozen=True)
class Numbers:
    """What goes into a workload, all float32.

    Attributes
    ----------
    layers : list of (weights, bias)
    x : ndarray, shape (samples, channels, side, side)
    target : ndarray, shape of the output
        What the network shall give; for a single convolution the gradient with respect to its output.
    """

    layers: list[tuple[np.ndarray, np.ndarray]]
    x: np.ndarray
    target: np.ndarray

    @property
    def slice_hu(self) -> np.ndarray:
        """The first image as a slice in HU, int16."""
        return np.rint(self.x[0, 0] * NORMALISATION["scale_hu"] + NORMALISATION["shift_hu"]).astype(np.int16)


@cache
def numbers(workload: Workload) -> Numbers:
    """Draw the numbers of a workload."""
    rng = np.random.default_rng(2018)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    shapes = workload.architecture.weight_shapes if workload.network else [(96, 96, 5, 5)]
    layers = []
    for filters, channels, height, width in shapes:
        spread = np.float32(np.sqrt(2 / (channels * height * width)))
        # Biases above zero keep the ReLUs of the article's network alive, which has one filter a layer.
        layers.append((spread * normal(filters, channels, height, width), np.float32(0.1) * abs(normal(filters))))
    filters, channels, height, width = shapes[0]
    samples, side = workload.samples, workload.side
    # Grey values around 1, like tissue, not around 0: then the pixels' parts of a gradient do not cancel each other,
    # and the few ReLUs that rounding turns on or off do not dominate the difference between float32 and float64.
    x = 1 + np.float32(0.3) * normal(samples, channels, side, side)
    if workload.network:
        target = x + np.float32(0.3) * normal(*x.shape)
    else:
        target = normal(samples, filters, side - height + 1, side - width + 1)
    return Numbers(layers, x, target)
