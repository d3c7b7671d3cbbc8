"""The tricks around the layers of a network, each as functions that compute the same with it and without it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache
from multiprocessing import get_context
from unittest import mock

import numpy as np
from threadpoolctl import threadpool_limits

from layer_tricks import SAMPLES, Comparison, Compute
from quietct.nn.conv.canvas import Frame
from quietct.nn.gradients import BatchGradient, orient
from quietct.nn.network import Network, Workspace
from workloads import NETWORKS


def bands(side: int) -> Iterator[Comparison]:
    """Take some rows at a time through all steps of a layer, or all rows through one step after the other."""
    for samples, edge in ((SAMPLES, side), (1, 4 * side)):
        one, several = new_workspace(samples, edge), new_workspace(samples, edge)

        def without(workspace: Workspace = one) -> np.ndarray:
            with mock.patch.object(Frame, "bands", lambda frame, rows, *_: [rows]):
                return gradient(workspace)

        def using(workspace: Workspace = several) -> np.ndarray:
            return gradient(workspace)

        yield compare("bands of rows, not all rows", samples, edge, without, using)


def memory(side: int) -> Iterator[Comparison]:
    """Keep memory from one step to the next, or allocate it in each."""
    workspace = new_workspace(SAMPLES, side)
    yield compare(
        "memory allocated once",
        SAMPLES,
        side,
        lambda: gradient(new_workspace(SAMPLES, side)),
        lambda: gradient(workspace),
    )


def workers(side: int) -> Iterator[Comparison]:
    """Compute in two processes, or two threads, or one."""
    samples = 2 * SAMPLES
    images = noise((samples, 1, side, side))

    def batch(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[indices], images[indices]

    with ExitStack() as stack:

        def computed_by(threads: int, kind: str) -> Compute:
            loss = {"kind": "mean_squared_error"}
            of_batch = BatchGradient(new_network(), loss, batch, (side, side), samples, threads, kind)
            stack.enter_context(of_batch)
            return lambda: of_batch(np.arange(samples))[1]

        one, threads, processes = computed_by(1, ""), computed_by(2, "threads"), computed_by(2, "processes")
        yield compare("two processes, not two threads", samples, side, threads, processes)
        yield compare("two processes, not one", samples, side, one, processes)


def turning(side: int) -> Iterator[Comparison]:
    """Turn the kernels and their gradient, or the images."""
    samples, edge = SAMPLES, 4 * side
    images = noise((samples, 1, edge, edge))
    network = Network(NETWORKS["article"])
    network.parameters[...] = np.random.default_rng(2018).random(network.parameters.size)  # all ReLUs are on

    def as_they_lie(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[indices], images[indices]

    def turned(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tuple(orient(some, 1, False) for some in as_they_lie(indices))

    with ExitStack() as stack:
        without, using = (
            stack.enter_context(BatchGradient(network, {"kind": "mean_squared_error"}, batch, (edge, edge), samples))
            for batch in (turned, as_they_lie)
        )
        yield Comparison(
            "kernels turned, not images",
            f"the article's, {samples} of {edge}²",
            samples * edge**2,
            lambda: without(np.arange(samples))[1],
            lambda: using(np.arange(samples), turns=1)[1],
        )


def kernels(side: int) -> Iterator[Comparison]:
    """Multiply by the kernels that OpenBLAS has for this processor, or by those for any one with AVX2."""
    with ExitStack() as stack:

        def computed_with(**environment: str) -> Compute:
            pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=threadpool_limits, initargs=(1, "blas"))
            stack.enter_context(pool)
            with mock.patch.dict(os.environ, environment):
                pool.submit(gradient_here, side).result()  # now the process starts
            return lambda: pool.submit(gradient_here, side).result()

        without, using = computed_with(OPENBLAS_CORETYPE="Haswell"), computed_with()
        yield compare("OpenBLAS's own kernels, not AVX2's", SAMPLES, side, without, using)


TRICKS = (bands, memory, workers, turning, kernels)


def compare(trick: str, samples: int, side: int, without: Compute, using: Compute) -> Comparison:
    """Say what is compared."""
    return Comparison(trick, f"chen2017, {samples} of {side}²", samples * side**2, without, using)


def new_network() -> Network:
    """Make the network with random weights, always the same."""
    network = Network(NETWORKS["chen2017"])
    network.initialise(np.random.default_rng(2018))
    return network


def new_workspace(samples: int, side: int) -> Workspace:
    """Allocate the memory for some images."""
    return Workspace(new_network(), samples, side, side)


@cache
def noise(shape: tuple[int, ...]) -> np.ndarray:
    """Make images of noise, always the same."""
    return np.random.default_rng(2018).standard_normal(shape, dtype=np.float32)


def gradient(workspace: Workspace) -> np.ndarray:
    """Go forward and backward, as a training step does."""
    return workspace.backward(workspace.forward(noise(workspace.shape)))


def gradient_here(side: int) -> np.ndarray:
    """Do so in the process that is asked, with the same memory each time."""
    return gradient(kept_workspace(SAMPLES, side))


kept_workspace = cache(new_workspace)
