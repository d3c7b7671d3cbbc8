"""Trainings and trained networks on disk: NumPy archives that load without pickle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from quietct.errors import UserError
from quietct.files import written_whole
from quietct.nn.architecture import Architecture
from quietct.nn.network import Network
from quietct.nn.training import TrainingState


def save_state(path: str | Path, state: TrainingState, key: str) -> None:
    """Write a checkpoint.

    Parameters
    ----------
    path : path
    state : TrainingState
    key : str
        Names the data and code that the training depends on; `load_state` refuses another one.
    """
    facts = {"key": key, "step": state.step, "epoch_loss": state.epoch_loss, "history": state.history}
    arrays = {f"optimiser_{name}": array for name, array in state.optimiser.items()}
    arrays |= {f"snapshot_{epoch}": image for epoch, image in state.snapshots.items()}
    with written_whole(path) as partial:
        np.savez(
            partial,
            allow_pickle=False,
            facts=np.array(json.dumps(facts)),
            parameters=state.parameters,
            **arrays,
        )


def load_state(path: str | Path, key: str) -> TrainingState | None:
    """Read a checkpoint; None if there is none, or if it belongs to other data."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            facts = json.loads(str(archive["facts"]))
            if facts["key"] != key:
                return None
            return TrainingState(
                archive["parameters"],
                {name[10:]: archive[name] for name in archive.files if name.startswith("optimiser_")},
                facts["step"],
                facts["epoch_loss"],
                facts["history"],
                {int(name[9:]): archive[name] for name in archive.files if name.startswith("snapshot_")},
            )
    except FileNotFoundError:
        return None


def save_network(path: str | Path, network: Network, description: dict[str, Any]) -> None:
    """Write a trained network with all that is needed to use it.

    Parameters
    ----------
    path : path
        A .npz file: float32 arrays `layer<k>_weights` and `layer<k>_bias`, and the JSON text `description`.
    network : Network
    description : dict
        Facts in JSON types, with `normalisation` {'shift_hu', 'scale_hu'}; the architecture is added.
    """
    arrays = {}
    for k, (weights, bias) in enumerate(network.layers, start=1):
        arrays[f"layer{k}_weights"], arrays[f"layer{k}_bias"] = weights, bias
    text = json.dumps({"architecture": network.architecture.to_config(), **description}, sort_keys=True)
    with written_whole(path) as partial:
        np.savez(partial, allow_pickle=False, description=np.array(text), **arrays)


def load_network(path: str | Path) -> tuple[Network, dict[str, Any]]:
    """Read a trained network and its description.

    Raises
    ------
    UserError
        If the file is absent or was not written by `save_network`.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            description = json.loads(str(archive["description"]))
            network = Network(Architecture.from_config(description["architecture"]))
            for k, (weights, bias) in enumerate(network.layers, start=1):
                weights[...], bias[...] = archive[f"layer{k}_weights"], archive[f"layer{k}_bias"]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile):
        raise UserError(
            f"{path} is not a trained network of quietct: choose a weights.npz that a run has made."
        ) from None
    return network, description
