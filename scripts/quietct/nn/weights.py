"""Trained networks on disk: NumPy archives that load without pickle."""

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

NORMALISATION = ("shift_hu", "scale_hu")
DIGEST = "network_sha256"  # in a description; files of the first versions have none

logger = logging.getLogger(__name__)


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
