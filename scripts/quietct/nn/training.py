"""The training loop: reproducible to the last bit, whatever interrupts it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from quietct.errors import UserError
from quietct.nn.gradients import Batch, BatchGradient
from quietct.nn.network import Network
from quietct.nn.optimizers import learning_rate_at, make_optimiser
from quietct.nn.variants import Variant
from quietct.nn.workers import WorkerLostError

# Every random number belongs to a stream with an address, (seed, purpose, ...). Nothing depends on what was drawn
# before, so that a resumed training needs no generator state and all variants see the data in the same order.
INITIAL_WEIGHTS, ORDER, AUGMENTATION, GRADIENT_NOISE = range(4)


class TrainingDivergedError(UserError):
    """The loss or a weight is not a finite number any more."""


@dataclass
class TrainingState:
    """Everything that a training has become so far; a checkpoint holds exactly this.

    Attributes
    ----------
    parameters : ndarray
    optimiser : dict of ndarray
    step : int
        Optimiser steps done.
    epoch_loss : float
        Sum of the losses of this epoch's steps so far.
    history : list of dict
        One row per finished epoch, row 0 before training.
    snapshots : dict of int to ndarray
        Preview image by epoch.
    """

    parameters: np.ndarray
    optimiser: dict[str, np.ndarray]
    step: int = 0
    epoch_loss: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    snapshots: dict[int, np.ndarray] = field(default_factory=dict)


class Chance(NamedTuple):
    """What is random in one step.

    Attributes
    ----------
    indices : ndarray of int
        Patches of the batch, sorted.
    turns, flip : int, bool
        Their orientation, see `quietct.nn.gradients.orient`.
    noise : Generator or None
        The stream of gradient noise, if the variant has any.
    """

    indices: np.ndarray
    turns: int
    flip: bool
    noise: np.random.Generator | None


class Trainer:
    """Trains one network with one back-propagation variant.

    Parameters
    ----------
    network : Network
        Its parameters are initialised here, then trained in place.
    variant : Variant
    settings : mapping
        The configuration's `train` entry: epochs, batch_size, shuffle, augment, loss, optimiser, learning_rate,
        schedule.
    patches : int
        Number of patch pairs.
    batch : callable
        Takes indices (sorted), returns noisy and clean images, normalised, each (samples, 1, rows, columns). Workers
        call it, each for its part of the batch.
    patch_shape : (rows, columns)
        Size of the images.
    seed : int
    threads : int
        Does not change the result.
    stream : str
        Name mixed into the seed of the initial weights; empty gives all variants the same ones.
    """

    def __init__(
        self,
        network: Network,
        variant: Variant,
        settings: Mapping[str, Any],
        patches: int,
        batch: Batch,
        patch_shape: tuple[int, int],
        *,
        initialiser: Mapping[str, Any],
        seed: int,
        threads: int = 1,
        stream: str = "",
    ):
        self.network, self.variant, self.settings = network, variant, settings
        self.patches, self.batch, self.patch_shape, self.seed, self.threads = patches, batch, patch_shape, seed, threads
        self.epochs = settings["epochs"]
        self.steps_per_epoch = -(-patches // settings["batch_size"])
        network.initialise(self._stream(INITIAL_WEIGHTS, crc32(stream.encode())), **initialiser)
        self.optimiser = make_optimiser(settings["optimiser"], network.parameters.size, network.parameters.dtype)
        self.state = TrainingState(network.parameters, self.optimiser.state)
        self._before = network.parameters.copy()

    def resume(self, state: TrainingState) -> None:
        """Go on from a checkpoint."""
        self.network.parameters[...] = state.parameters
        for name, array in self.optimiser.state.items():
            array[...] = state.optimiser[name]
        state.parameters, state.optimiser = self.network.parameters, self.optimiser.state
        self.state = state

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.state.step // self.steps_per_epoch

    def run(
        self,
        observe: Callable[[int], dict[str, float]],
        save: Callable[[TrainingState], None],
        save_seconds: float,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        """Train until the last epoch is done.

        Parameters
        ----------
        observe : callable
            Called with the number of finished epochs, first with 0 before training; returns columns for the
            history, such as the validation PSNR.
        save : callable
            Called with the state every `save_seconds`, and with the last finite state before an error.
        save_seconds : float
        progress : callable
            Called after every step.

        Raises
        ------
        TrainingDivergedError
            If the loss or a weight is not a finite number. The last finite state has been saved.
        WorkerLostError
            If a worker process was killed, as when memory runs out. The state before that step has been saved.
        """
        largest = min(self.settings["batch_size"], self.patches)
        with BatchGradient(
            self.network, self.settings["loss"], self.batch, self.patch_shape, largest, self.threads
        ) as batch_gradient:
            if not self.state.history:
                self.state.history.append({"epoch": 0, "step": 0, **observe(0)})
            saved = time.monotonic()
            while self.epoch < self.epochs:
                for facts in self._rest_of_epoch(batch_gradient, save):
                    if self.state.step % self.steps_per_epoch == 0:
                        self._finish_epoch(facts, observe)
                    progress()
                    if time.monotonic() - saved > save_seconds:
                        save(self.state)
                        saved = time.monotonic()

    def _rest_of_epoch(
        self, batch_gradient: BatchGradient, save: Callable[[TrainingState], None]
    ) -> Iterator[dict[str, float]]:
        """Do the steps of this epoch that are not done yet."""
        state, parameters, epoch = self.state, self.network.parameters, self.epoch
        for chance in self._chances(epoch, state.step % self.steps_per_epoch):
            np.copyto(self._before, parameters)
            try:
                loss, facts = self._step(batch_gradient, chance, epoch)
            except WorkerLostError:
                save(state)
                raise
            if not (math.isfinite(loss) and np.isfinite(parameters).all()):
                np.copyto(parameters, self._before)
                save(state)
                raise TrainingDivergedError(
                    f"Training diverged in epoch {epoch + 1}, step {state.step + 1}: loss or weights are not finite; "
                    "lower `learning_rate` in the configuration."
                )
            state.epoch_loss += loss
            state.step += 1
            yield facts

    def _chances(self, epoch: int, done: int) -> Iterator[Chance]:
        """Draw what is random in the steps of an epoch after the first `done`.

        For some steps at a time: between two gradients, with nothing of it in the processor's cache, the same takes
        five times as long.
        """
        order, orientations = np.arange(self.patches, dtype=np.int32), np.zeros(self.steps_per_epoch, int)
        if self.settings.get("shuffle", True):
            self._stream(ORDER, epoch).shuffle(order)
        if self.settings["augment"]:
            orientations = self._stream(AUGMENTATION, epoch).integers(8, size=self.steps_per_epoch)
        for first in range(done, self.steps_per_epoch, 64):
            steps = range(first, min(first + 64, self.steps_per_epoch))
            yield from [self._chance(order, int(orientations[k]), epoch, k) for k in steps]

    def _chance(self, order: np.ndarray, orientation: int, epoch: int, k: int) -> Chance:
        step, size, noise = epoch * self.steps_per_epoch + k, self.settings["batch_size"], None
        if self.variant.gradient_noise:
            noise = self._stream(GRADIENT_NOISE, step)
        # The training set lies in files: sorted reads are sequential reads.
        return Chance(np.sort(order[k * size : (k + 1) * size]), orientation % 4, orientation >= 4, noise)

    def _step(self, batch_gradient: BatchGradient, chance: Chance, epoch: int) -> tuple[float, dict[str, float]]:
        """Descend once. Returns the loss before the step, and what the history tells about it."""
        step, facts, dilation = self.state.step, {}, 0.0
        if self.variant.dilation:
            facts["dilation_lambda"] = dilation = self.variant.dilation.factor(epoch)
        loss, gradient = batch_gradient(chance.indices, dilation, chance.turns, chance.flip)
        with np.errstate(over="ignore", invalid="ignore"):  # _rest_of_epoch looks for what is not finite
            if self.variant.gradient_noise and chance.noise:
                sigma, ratio = self.variant.gradient_noise.add(gradient, self.network.arrays, step, chance.noise)
                facts |= {"gradient_noise_sigma": sigma, "gradient_noise_ratio": ratio}
            steps = self.epochs * self.steps_per_epoch
            rate = learning_rate_at(self.settings["schedule"], self.settings["learning_rate"], step, epoch, steps)
            self.optimiser.update(self.network.parameters, gradient, rate)
        return loss, facts | {"learning_rate": rate}

    def _finish_epoch(self, facts: dict[str, float], observe: Callable[[int], dict[str, float]]) -> None:
        loss = self.state.epoch_loss / self.steps_per_epoch
        row = {"epoch": self.epoch, "step": self.state.step, "loss": loss, **facts, **observe(self.epoch)}
        self.state.history.append(row)
        self.state.epoch_loss = 0.0

    def _stream(self, purpose: int, *address: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, *address])


def snapshot_epochs(epochs: int, count: int) -> list[int]:
    """Choose epochs for an animation: from 0 to the last one, close together at first, where most happens."""
    return sorted({round(epochs * (k / max(count - 1, 1)) ** 2) for k in range(count)} | {0, epochs})
