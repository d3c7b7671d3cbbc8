"""Train one network on the patches of a run: the files around the training loop of `quietct.nn`."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from quietct import __version__
from quietct.canonical import digest_of
from quietct.ct.split import Split, read_slices, test_slices
from quietct.ct.volume import open_volume, preview_index, read_info, to_int16
from quietct.errors import UserError
from quietct.evaluation.psnr import psnr_db
from quietct.files import written_whole
from quietct.nn.architecture import Architecture
from quietct.nn.checkpoint import load_state, save_state
from quietct.nn.inference import TiledInference
from quietct.nn.network import Network
from quietct.nn.training import Trainer, TrainingDivergedError, TrainingState, snapshot_epochs
from quietct.nn.variants import Variant
from quietct.nn.weights import save_network
from quietct.training_data import training_facts

HISTORY_COLUMNS = [
    "epoch",
    "step",
    "learning_rate",
    "loss",
    "validation_psnr_db",
    "dilation_lambda",
    "gradient_noise_sigma",
    "gradient_noise_ratio",
]

logger = logging.getLogger(__name__)


# Usual limits are 1,024 open files, and 256 on macOS.
KEPT_OPEN = 64


class PatchSet:
    """Patch pairs of several series, read from their files as they are needed and never kept.

    Some files stay open, which saves a network file system the work of opening them for every patch. They are read by
    place, so that workers, processes or threads, do not get into each other's way.

    Parameters
    ----------
    paths : sequence of path
        Files of int16 HU, shape (n, 2, rows, columns): noisy, target.
    normalisation : mapping
        {'shift_hu', 'scale_hu'}: the network sees (HU - shift) / scale.
    """

    def __init__(self, paths: Sequence[str | Path], normalisation: Mapping[str, float]):
        self.files = [open_volume(path) for path in paths]
        self.starts = np.cumsum([0] + [len(file) for file in self.files])
        self.normalisation = normalisation
        if len({file.shape[2:] for file in self.files}) > 1:
            sizes = ", ".join(
                f"{Path(path).stem} {file.shape[2:]}" for path, file in zip(paths, self.files, strict=True)
            )
            raise UserError(f"The patches of the training series differ in size ({sizes}); set `patches: size`.")
        self._open: list[int] = []
        weakref.finalize(self, _close, self._open)
        if hasattr(os, "preadv"):
            self._open += [os.open(file.path, os.O_RDONLY) for file in self.files[:KEPT_OPEN]]

    def __len__(self) -> int:
        """Count the pairs."""
        return int(self.starts[-1])

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Rows and columns of a patch."""
        _, _, rows, columns = self.files[0].shape
        return rows, columns

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give noisy patches and their targets, float32 and normalised, each (samples, 1, rows, columns)."""
        file = self.starts.searchsorted(indices, side="right") - 1
        images = np.empty((len(indices), 2, *self.patch_shape), np.float32)
        pair = np.empty(images.shape[1:], np.int16)
        for image, k, index in zip(images, file.tolist(), (indices - self.starts[file]).tolist(), strict=True):
            self._read(k, index, pair)
            image[...] = pair
        # In three passes: NumPy is slow where it converts and computes in one. And a division takes twice as long.
        images -= np.float32(self.normalisation["shift_hu"])
        images *= np.float32(1 / self.normalisation["scale_hu"])
        return images[:, :1], images[:, 1:]

    def _read(self, k: int, index: int, pair: np.ndarray) -> None:
        """Read one pair of file `k`, int16 HU (2, rows, columns)."""
        file = self.files[k]
        if k >= len(self._open):
            file.read_into(pair, index)
        elif os.preadv(self._open[k], [pair.data], file.place(index)) < file.slice_bytes:
            raise file.cut_off()

    def digest(self) -> str:
        """Digest of all pixels."""
        sha256 = hashlib.sha256()
        for file in self.files:
            for block in file.blocks():
                sha256.update(block)
        return sha256.hexdigest()


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def train_network(
    patches: Sequence[str | Path],
    preview_noisy: str | Path,
    preview_clean: str | Path,
    preview_slice: int | None,
    *,
    weights: str | Path,
    history: str | Path,
    snapshots: str | Path,
    checkpoint: str | Path,
    names: Mapping[str, str],
    seed: int,
    architecture: Mapping[str, Any],
    variant: Mapping[str, Any],
    training: Mapping[str, Any],
    window_hu: tuple[float, float],
    threads: int = 1,
    preview_info: str | Path | None = None,
    split: Split | None = None,
    infos: Sequence[str | Path] | None = None,
    code: str = "",
) -> None:
    """Train one network with one variant and one seed, and write weights, history and snapshots.

    A training that is killed goes on from its checkpoint and ends with the same bytes. One that diverges ends with
    the last finite weights and `diverged` in their description: a run goes on, and what they denoise counts as failed.

    Parameters
    ----------
    patches : sequence of path
        Patch pairs of the training series.
    preview_noisy, preview_clean : path
        Volumes of the series whose slice `preview_slice` (None: the middle one) is denoised after each epoch. The
        second is the target, clean or another scan. The slice is watched, never used to choose anything.
    weights, history, snapshots : path
        Outputs: .npz, .tsv, .npz.
    checkpoint : path
        Where the state of an unfinished training lies. It is gone on from if data, settings and code are still those
        that it was begun with; `checkpoint_seconds` and `threads` may have changed.
    names : mapping
        {'noise', 'network', 'variant'}, written into the model.
    seed : int
    architecture, variant, training : mapping
        Entries of the configuration.
    window_hu : (low, high)
        Window of the validation PSNR.
    threads : int
        Does not change the result.
    preview_info : path or None
        JSON of the preview series, for a split.
    split : mapping or None
        The config's `split`; with it the preview is a held-out slice.
    infos : sequence of path or None
        JSON of the training series. What it and the patches say of the training data is kept with the weights.
    code : str
        Digest of the code that trains, so that no training begins with one code and ends with another.

    Raises
    ------
    UserError
        If patches differ in size, or there is no preview slice of that number.
    """
    training = {**training, "learning_rate": variant.get("learning_rate", training["learning_rate"])}
    checkpoint_seconds = training.pop("checkpoint_seconds")  # says nothing of the weights
    normalisation = training["normalisation"]
    patch_set = PatchSet(patches, normalisation)
    network = Network(Architecture.from_config(architecture))
    trainer = Trainer(
        network,
        Variant.from_config(variant),
        training,
        len(patch_set),
        patch_set.batch,
        patch_set.patch_shape,
        initialiser=architecture["initialiser"],
        seed=seed,
        threads=threads,
        stream=names["variant"] if training["init"] == "independent" else "",
    )
    clean_volume = open_volume(preview_clean)
    held_out = read_slices(test_slices, preview_info, split, len(clean_volume))
    k = preview_index(clean_volume, preview_slice, preview_clean, held_out)
    noisy_slice, clean_slice = open_volume(preview_noisy)[k], clean_volume[k]
    rows, columns = noisy_slice.shape
    frames = snapshot_epochs(trainer.epochs, training["snapshots"])

    digest = patch_set.digest()
    preview = [hashlib.sha256(image.tobytes()).hexdigest() for image in (noisy_slice, clean_slice)]
    key = digest_of(digest, preview, dict(names), seed, architecture, variant, training, list(window_hu), code)
    resumed = load_state(checkpoint, key, trainer.state)
    if resumed:
        logger.info("Going on from the checkpoint at step %d.", resumed.step)
        trainer.resume(resumed)

    def observe(epoch: int) -> dict[str, float]:
        # Weights that are about to diverge can give anything: such an image has no PSNR.
        image = to_int16(inference.denoise_hu(noisy_slice, normalisation))
        if epoch in frames:
            trainer.state.snapshots[epoch] = image
        psnr = psnr_db(image, clean_slice, window_hu)
        if epoch:
            loss = trainer.state.epoch_loss / trainer.steps_per_epoch
            logger.info("Epoch %d of %d: loss %.6g, preview slice %.2f dB", epoch, trainer.epochs, loss, psnr)
        return {"validation_psnr_db": psnr}

    def save(state: TrainingState) -> None:
        save_state(checkpoint, state, key)

    title = f"{names['network']} {names['variant']} seed {seed}"
    steps = trainer.epochs * trainer.steps_per_epoch
    with (
        TiledInference(network, rows, columns, threads) as inference,
        logging_redirect_tqdm(),
        tqdm(total=steps, initial=trainer.state.step, desc=title, disable=not sys.stderr.isatty(), leave=False) as bar,
    ):
        try:
            trainer.run(observe, save, checkpoint_seconds, bar.update)
            diverged = None
        except TrainingDivergedError as error:
            diverged = str(error)
            logger.warning("%s All that this network denoises counts as failed.", diverged)

    state = trainer.state
    description = {
        **names,
        "seed": seed,
        "variant_settings": dict(variant),
        "training": dict(training),
        "normalisation": dict(normalisation),
        "window_hu": list(window_hu),
        "patches_sha256": digest,
        "training_data": training_facts([read_info(path) for path in infos or ()], patch_set.files),
        "validation_psnr_db": state.history[-1]["validation_psnr_db"],
        "version": __version__,
    }
    if diverged:
        description["diverged"] = diverged
    _write_history(history, state)
    _write_snapshots(snapshots, state, noisy_slice, clean_slice)
    save_network(weights, network, description)
    Path(checkpoint).unlink(missing_ok=True)


def _write_history(path: str | Path, state: TrainingState) -> None:
    with written_whole(path) as partial:
        pd.DataFrame(state.history).reindex(columns=HISTORY_COLUMNS).to_csv(partial, sep="\t", index=False)


def _write_snapshots(path: str | Path, state: TrainingState, noisy: np.ndarray, clean: np.ndarray) -> None:
    epochs = sorted(state.snapshots)
    psnr_by_epoch = {int(row["epoch"]): row["validation_psnr_db"] for row in state.history}
    with written_whole(path) as partial:
        np.savez(
            partial,
            epochs=np.array(epochs),
            images=np.stack([state.snapshots[epoch] for epoch in epochs]),
            psnr_db=np.array([psnr_by_epoch[epoch] for epoch in epochs]),
            noisy=noisy,
            clean=clean,
        )
