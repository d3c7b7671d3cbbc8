"""Trainings and trained networks on disk: NumPy archives that load without pickle."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from quietct.errors import UserError
from quietct.files import written_whole
from quietct.nn.architecture import Architecture, Layer
from quietct.nn.network import Network
from quietct.nn.training import TrainingState

NORMALISATION = ("shift_hu", "scale_hu")
OPTIMISER, SNAPSHOT = "optimiser_", "snapshot_"  # begin the names of arrays in a checkpoint
DIGEST = "network_sha256"  # in a description; files of the first versions have none

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
            logger.warning("The checkpoint %s is of other data: the training starts anew.", path)
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


def save_network(path: str | Path, network: Network, description: dict[str, Any]) -> None:
    """Write a trained network with all that is needed to use it.

    Parameters
    ----------
    path : path
        A .npz file: float32 arrays `layer<k>_weights` and `layer<k>_bias`, and the JSON text `description`.
    network : Network
    description : dict
        Facts in JSON types, with `normalisation` {'shift_hu', 'scale_hu'}; the architecture and a digest are added.
    """
    arrays = {}
    for k, (weights, bias) in enumerate(network.layers, start=1):
        arrays[f"layer{k}_weights"], arrays[f"layer{k}_bias"] = weights, bias
    facts = {"architecture": network.architecture.to_config(), **description}
    facts[DIGEST] = network_digest(network, description)
    text = json.dumps(facts, sort_keys=True)
    with written_whole(path) as partial:
        np.savez(partial, allow_pickle=False, description=np.array(text), **arrays)


def load_network(path: str | Path) -> tuple[Network, dict[str, Any]]:
    """Read a trained network and its description. Nothing in the file is executed.

    Raises
    ------
    UserError
        If the file is absent or was not written by `save_network`, or by a newer version.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            description = json.loads(str(archive["description"]))
            unknown = _unknown_key(description["architecture"])
            if not unknown:
                network = Network(_architecture(description["architecture"]))
                for k, (weights, bias) in enumerate(network.layers, start=1):
                    _copy(archive[f"layer{k}_weights"], weights)
                    _copy(archive[f"layer{k}_bias"], bias)
                _check_normalisation(description["normalisation"])
                if description.get(DIGEST, found := network_digest(network, description)) != found:
                    raise ValueError("another digest")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except Exception as error:  # whatever is not ours, or damaged, can raise almost anything
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{path} cannot be read ({error.strerror}).") from None
        raise UserError(
            f"{path} is not a trained network of quietct, or is damaged: choose a weights.npz that a run has made."
        ) from None
    if unknown:
        raise UserError(
            f"{path} holds a network with the key {unknown!r}, which this version of quietct does not know: "
            "update quietct."
        )
    return network, description


def network_digest(network: Network, description: Mapping[str, Any]) -> str:
    """Give the SHA-256 of all that decides a denoised pixel: layers, weights and normalisation.

    Other facts in the description do not change it, so that weights are the same before and after they are exported.
    """
    facts = [network.architecture.to_config(), {key: float(description["normalisation"][key]) for key in NORMALISATION}]
    sha256 = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    sha256.update(network.parameters.astype("<f4").tobytes())
    return sha256.hexdigest()


def _unknown_key(config: Mapping[str, Any]) -> str | None:
    known = {field.name for field in fields(Layer)}
    keys = [*(set(config) - {"layers"}), *(key for layer in config["layers"] for key in set(layer) - known)]
    return min(keys, default=None)


def _architecture(config: Mapping[str, Any]) -> Architecture:
    """Read what `Architecture.to_config` wrote; anything else is a `ValueError`."""
    architecture = Architecture.from_config(config)
    for layer in architecture.layers:
        whole = [layer.filters, layer.kernel] + [layer.add] * (layer.add is not None)
        if any(type(value) is not int for value in whole) or min(layer.filters, layer.kernel) < 1:
            raise ValueError("numbers of a layer must be whole and positive")
        if type(layer.relu) is not bool:
            raise ValueError("relu must be true or false")
    return architecture


def _copy(source: np.ndarray, target: np.ndarray) -> None:
    """Copy an array of the same shape: NumPy alone would repeat a smaller one."""
    if source.shape != target.shape or source.dtype != target.dtype or not np.isfinite(source).all():
        raise ValueError("an array has another shape or type, or numbers that are none")
    target[...] = source


def _check_normalisation(normalisation: Mapping[str, Any]) -> None:
    shift, scale = (float(normalisation[key]) for key in NORMALISATION)
    if not (math.isfinite(shift) and math.isfinite(scale) and scale):
        raise ValueError("the normalisation must be finite numbers")
