"""Optimisers on one flat vector of parameters, and learning-rate schedules.

Each optimiser keeps one vector to compute in. For networks with many parameters a new one at each step would cost more
time than the arithmetic, because the system clears its pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np


class Optimiser(Protocol):
    """What training asks of an optimiser.

    Attributes
    ----------
    state : dict of ndarray
        What a checkpoint must keep.
    """

    state: dict[str, np.ndarray]

    def update(self, parameters: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        """Descend one step, in place."""


class SGD:
    """Plain gradient descent: w ← w - lr · g."""

    def __init__(self, size: int, dtype: Any = np.float32):
        self.state: dict[str, np.ndarray] = {}
        self._work = np.empty(size, dtype)

    def update(self, parameters: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        """Descend one step, in place."""
        parameters -= np.multiply(gradient, learning_rate, out=self._work)


class Momentum:
    """Heavy-ball momentum: v ← m · v + g, w ← w - lr · v (Polyak 1964)."""

    def __init__(self, size: int, dtype: Any = np.float32, momentum: float = 0.9):
        self.momentum = momentum
        self.state = {"velocity": np.zeros(size, dtype)}
        self._work = np.empty(size, dtype)

    def update(self, parameters: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        """Descend one step, in place."""
        velocity = self.state["velocity"]
        velocity *= self.momentum
        velocity += gradient
        parameters -= np.multiply(velocity, learning_rate, out=self._work)


class Adam:
    """Adam, Kingma and Ba 2014, arXiv 1412.6980, algorithm 1."""

    def __init__(
        self, size: int, dtype: Any = np.float32, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ):
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.state = {"mean": np.zeros(size, dtype), "square": np.zeros(size, dtype), "steps": np.zeros(1, np.int64)}
        self._work = np.empty(size, dtype)

    def update(self, parameters: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        """Descend one step, in place."""
        mean, square, steps, work = self.state["mean"], self.state["square"], self.state["steps"], self._work
        steps += 1
        t = int(steps[0])
        # mean += (1 - beta1) (gradient - mean)
        np.subtract(gradient, mean, out=work)
        work *= 1 - self.beta1
        mean += work
        # square += (1 - beta2) (gradient² - square)
        np.square(gradient, out=work)
        work -= square
        work *= 1 - self.beta2
        square += work
        # parameters -= step_size mean / (√square + epsilon unbiased)
        unbiased = math.sqrt(1 - self.beta2**t)
        np.sqrt(square, out=work)
        work += self.epsilon * unbiased
        np.divide(mean, work, out=work)
        work *= learning_rate * unbiased / (1 - self.beta1**t)
        parameters -= work


OPTIMISERS: dict[str, Callable[..., Optimiser]] = {"sgd": SGD, "momentum": Momentum, "adam": Adam}


def make_optimiser(config: Mapping[str, Any], size: int, dtype: Any = np.float32) -> Optimiser:
    """Make the optimiser of {'kind': ..., further arguments by name}."""
    arguments = {key: value for key, value in config.items() if key != "kind"}
    return OPTIMISERS[config["kind"]](size, dtype, **arguments)


def learning_rate_at(config: Mapping[str, Any], learning_rate: float, step: int, epoch: int, steps: int) -> float:
    """Learning rate of a schedule.

    Parameters
    ----------
    config : mapping
        {'kind': 'constant'}, {'kind': 'step', 'every': epochs, 'factor': f}, or
        {'kind': 'cosine', 'final_fraction': f}; each may have 'warmup_steps' of linear rise.
    learning_rate : float
        The rate that the schedule starts from.
    step, epoch : int
        Optimiser step and epoch, from 0.
    steps : int
        Steps of the whole training.

    Returns
    -------
    float
    """
    rate = learning_rate
    if config["kind"] == "step":
        rate *= config["factor"] ** (epoch // config["every"])
    elif config["kind"] == "cosine":
        final = config["final_fraction"]
        rate *= final + (1 - final) * (1 + math.cos(math.pi * step / steps)) / 2
    warmup = config.get("warmup_steps", 0)
    return rate * min(1.0, (step + 1) / warmup) if warmup else rate
