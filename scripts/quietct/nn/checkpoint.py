"""Unfinished trainings on disk: NumPy archives that load without pickle."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from quietct.errors import UserError
from quietct.files import written_whole
from quietct.nn.training import TrainingState

OPTIMISER, SNAPSHOT = "optimiser_", "snapshot_"  # begin the names of arrays in a checkpoint

logger = logging.getLogger(__name__)


def save_state(path: str | Path, state: TrainingState, key: str) -> None:
    """Write a checkpoint.

    Parameters
    ----------
    path : path
    state : TrainingState
    key : str
        Names the data and code that the training depends on; `load_state` refuses another one.
    """
    facts = json.dumps({"key": key, "step": state.step, "epoch_loss": state.epoch_loss, "history": state.history})
    arrays = {"parameters": state.parameters}
    arrays |= {f"{OPTIMISER}{name}": array for name, array in state.optimiser.items()}
    arrays |= {f"{SNAPSHOT}{epoch}": image for epoch, image in state.snapshots.items()}
    with written_whole(path) as partial:
        np.savez(partial, allow_pickle=False, facts=np.array(facts), sha256=np.array(_digest(facts, arrays)), **arrays)


def load_state(path: str | Path, key: str, like: TrainingState) -> TrainingState | None:
    """Read a checkpoint; None if there is none that this training can go on from, with a warning that says why.

    Nothing is lost by that but time: the training starts anew and ends with the same bytes.

    Parameters
    ----------
    path : path
    key : str
        As it was given to `save_state`.
    like : TrainingState
        Of a training that has not begun. What is read has parameters and optimiser arrays of the same names, shapes
        and types.

    Raises
    ------
    UserError
        If the system does not let it be read.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        text, digest = str(arrays.pop("facts")), str(arrays.pop("sha256"))
        if digest != _digest(text, arrays):
            raise ValueError("another digest")
        facts = json.loads(text)
        if facts["key"] != key:
            logger.warning("The checkpoint %s is of other data, settings or code: the training starts anew.", path)
            return None
        state = TrainingState(
            arrays["parameters"],
            {name.removeprefix(OPTIMISER): arrays[name] for name in arrays if name.startswith(OPTIMISER)},
            facts["step"],
            facts["epoch_loss"],
            facts["history"],
            {int(name.removeprefix(SNAPSHOT)): arrays[name] for name in arrays if name.startswith(SNAPSHOT)},
        )
        _check_like(state, like)
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever is not ours, or damaged, can raise almost anything
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"The checkpoint {path} cannot be read ({error.strerror}): delete it.") from None
        logger.warning("The checkpoint %s is damaged or of another network: the training starts anew.", path)
        return None
    return state


def _digest(facts: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Give the SHA-256 of a checkpoint: its facts, and names, types, shapes and bytes of its arrays."""
    sha256 = hashlib.sha256(facts.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha256.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()


def _check_like(state: TrainingState, like: TrainingState) -> None:
    wanted = {"": like.parameters, **like.optimiser}
    found = {"": state.parameters, **state.optimiser}
    if wanted.keys() != found.keys():
        raise ValueError("another optimiser")
    if any(found[name].shape != wanted[name].shape or found[name].dtype != wanted[name].dtype for name in wanted):
        raise ValueError("another network")
