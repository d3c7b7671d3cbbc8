"""Measure what training costs beside its arithmetic, and what the variants of back-propagation cost.

    .venv/bin/python benchmarks/training_throughput.py --json training_throughput.json

Trains by `train_network`, as the workflow does: patches read from a file of int16 HU, turned and normalised
batch by batch, Adam, checkpoints and progress. The bare step beside it finds its data normalised in memory and does
forward pass, backward pass and Adam alone. They take turns; rates are medians over rounds, start-up and first epoch
left out. Settings are those of config/config.yaml but for the batch size; epochs have as many patches as in the
networks' own configs.

After each epoch the trainer denoises a preview slice. That is no training step: the slice is as small as can be here,
and a column of its own says what a whole slice of 512 x 512 pixels adds.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from quietct.ct.volume import new_volume
from quietct.nn.architecture import Architecture
from quietct.nn.gradients import BatchGradient
from quietct.nn.network import Network
from quietct.nn.optimizers import make_optimiser
from quietct.training_job import PatchSet, train_network
from table import describe_machine, let_openblas_choose, print_facts, print_table, write_json
from with_numpy import facts as blas_facts

CONFIGS = Path(__file__).parents[1] / "config"
SMALL_PREVIEW = 32  # rows and columns (pixels)
CHECKPOINT_SECONDS = 1  # far more often than in any config, so that every turn has some
BARE, WHOLE_PREVIEW = "bare", "whole_preview"  # beside the names of the variants
COLUMNS = {
    "network": ("network", "{}"),
    "side": ("side", "{}"),
    "batch_size": ("batch", "{}"),
    "threads": ("threads", "{}"),
    "bare_patches_per_second": ("bare patches/s", "{:.1f}"),
    "trainer_patches_per_second": ("trainer patches/s", "{:.1f}"),
    "trainer_to_bare": ("trainer to bare", "{:.3f}"),
    "whole_preview": ("whole preview", "{:.3f}"),
    "gradient_noise": ("gradient_noise", "{:.3f}"),
    "dilated": ("dilated", "{:.3f}"),
    "dilated_gradient_noise": ("both", "{:.3f}"),
}


@dataclass(frozen=True)
class Case:
    """A network and the batches that it trains on.

    Parameters
    ----------
    network : str
    config : str
        The file that has the network.
    side : int
        Rows and columns of a patch (pixels).
    batch_size : int
    patches : int
        Patches of an epoch.
    epochs : int
        Timed epochs of a turn.
    whole_preview : int
        Rows and columns of a whole slice to denoise after each epoch (pixels).
    """

    network: str
    config: str
    side: int
    batch_size: int
    patches: int
    epochs: int
    whole_preview: int = 512

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        return -(-self.patches // self.batch_size)


CASES = (
    Case("chen2017", "chen2017.yaml", side=64, batch_size=32, patches=512, epochs=1),
    Case("chen2017", "chen2017.yaml", side=64, batch_size=1, patches=512, epochs=1),
    Case("compact", "config.yaml", side=64, batch_size=1, patches=384, epochs=2),
    Case("article", "article.yaml", side=256, batch_size=4, patches=40, epochs=20),
)


def main() -> None:
    """Measure, print and write."""
    options = read_options()
    if not options.keep_coretype:
        let_openblas_choose()
    facts = describe_machine() | blas_facts()
    print_facts(facts)
    cases = CASES
    if options.quick:
        cases = [replace(case, patches=2 * case.batch_size, epochs=1, whole_preview=96) for case in CASES]
    rows = [
        {"network": case.network, "side": case.side, "batch_size": case.batch_size, "threads": threads} | rates
        for (case, threads), rates in take_turns(cases, options.threads, options.rounds).items()
    ]
    print_table(COLUMNS, rows)
    if options.json:
        write_json(options.json, COLUMNS, rows, facts)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="The last columns are times per step, relative to those of the variant sgd with a small preview.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contender (%(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of workers (1 2)")
    parser.add_argument("--json", type=Path, help="file to write: a list with one object per line of the table")
    parser.add_argument("--quick", action="store_true", help="two steps, one round: shows that all works, not speed")
    parser.add_argument("--keep-coretype", action="store_true", help="heed OPENBLAS_CORETYPE if it is set")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    return options


def take_turns(
    cases: list[Case], numbers_of_threads: list[int], rounds: int
) -> dict[tuple[Case, int], dict[str, float]]:
    """Time the bare step and all variants in every round.

    Returns
    -------
    dict
        By case and number of threads, the columns of the table that are measured.
    """
    variants = read_config("config.yaml")["variants"]
    turns: dict[tuple[Case, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        for k in range(rounds):
            print(f"round {k + 1} of {rounds}", file=sys.stderr)
            for case in cases:
                write_data(Path(folder), case)
                for threads in numbers_of_threads:
                    seconds = turns[case, threads]
                    seconds[BARE].append(seconds_per_bare_step(Path(folder), case, threads))
                    for name, variant in variants.items():
                        seconds[name].append(seconds_per_trained_step(Path(folder), case, threads, name, variant))
                    sgd = ("sgd", variants["sgd"], "whole")
                    seconds[WHOLE_PREVIEW].append(seconds_per_trained_step(Path(folder), case, threads, *sgd))
    return {key: rates(key[0], seconds) for key, seconds in turns.items()}


def rates(case: Case, seconds: dict[str, list[float]]) -> dict[str, float]:
    """Turn seconds per step into what the table shows."""
    medians = {name: statistics.median(turns) for name, turns in seconds.items()}
    patches = case.patches / case.steps
    others = medians.keys() - {BARE, "sgd"}
    return {
        "bare_patches_per_second": patches / medians[BARE],
        "trainer_patches_per_second": patches / medians["sgd"],
        "trainer_to_bare": medians[BARE] / medians["sgd"],
        **{name: medians[name] / medians["sgd"] for name in others},
    }


def seconds_per_bare_step(folder: Path, case: Case, threads: int) -> float:
    """Time forward pass, backward pass and update."""
    training = read_config("config.yaml")["train"]
    patches = PatchSet([folder / "patches.npy"], training["normalisation"])
    noisy, clean = patches.batch(np.arange(len(patches)))
    architecture = read_config(case.config)["networks"][case.network]
    network = Network(Architecture.from_config(architecture))
    network.initialise(np.random.default_rng(1), **architecture["initialiser"])
    optimiser = make_optimiser(training["optimiser"], network.parameters.size)
    batches = np.array_split(np.arange(len(patches)), case.steps)
    epochs = []
    with BatchGradient(
        network,
        training["loss"],
        lambda indices: (noisy[indices], clean[indices]),
        patches.patch_shape,
        case.batch_size,
        threads,
    ) as batch_gradient:
        for _ in range(1 + case.epochs):
            for batch in batches:
                _, gradient = batch_gradient(batch)
                optimiser.update(network.parameters, gradient, training["learning_rate"])
            epochs.append(time.perf_counter())
    return (epochs[-1] - epochs[0]) / (case.epochs * case.steps)


def seconds_per_trained_step(
    folder: Path, case: Case, threads: int, name: str, variant: dict[str, Any], preview: str = "small"
) -> float:
    """Time whole epochs of the trainer."""
    config = read_config("config.yaml")
    training = config["train"] | {
        "batch_size": case.batch_size,
        "epochs": 1 + case.epochs,
        "checkpoint_seconds": CHECKPOINT_SECONDS,
    }
    with EpochClock() as clock:
        train_network(
            [folder / "patches.npy"],
            folder / f"{preview}.npy",
            folder / f"{preview}.npy",
            None,
            weights=folder / "weights.npz",
            history=folder / "history.tsv",
            snapshots=folder / "snapshots.npz",
            checkpoint=folder / "checkpoint.npz",
            names={"noise": "gaussian_10", "network": case.network, "variant": name},
            seed=1,
            architecture=read_config(case.config)["networks"][case.network],
            variant=variant,
            training=training,
            window_hu=config["window_hu"],
            threads=threads,
        )
    return (clock.epochs[-1] - clock.epochs[0]) / (case.epochs * case.steps)


class EpochClock(logging.Handler):
    """Notes when `train_network` says that an epoch has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[float] = []
        self.logger = logging.getLogger(train_network.__module__)

    def __enter__(self) -> "EpochClock":
        """Begin to listen."""
        self.logger.addHandler(self)
        self.logger.setLevel(logging.INFO)
        self.logger.propagate = False  # the lines need not be printed
        return self

    def __exit__(self, *error: object) -> None:
        """Stop listening."""
        self.logger.removeHandler(self)
        self.logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        """Take the time of a line such as `Epoch 3 of 20: ...`."""
        if record.getMessage().startswith("Epoch "):
            self.epochs.append(time.perf_counter())


def write_data(folder: Path, case: Case) -> None:
    """Write noise as patches and as volumes for the preview: speed does not depend on what the pixels show."""
    rng = np.random.default_rng(1)
    shapes = {
        "patches": (case.patches, 2, case.side, case.side),
        "small": (1, SMALL_PREVIEW, SMALL_PREVIEW),
        "whole": (1, case.whole_preview, case.whole_preview),
    }
    for name, shape in shapes.items():
        with new_volume(folder / f"{name}.npy", shape) as hu:
            hu[...] = rng.normal(-600, 300, shape)


def read_config(name: str) -> dict[str, Any]:
    """Read a config of the repository."""
    return yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
