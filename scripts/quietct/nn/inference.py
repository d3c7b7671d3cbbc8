"""A trained network on an image in its own units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quietct.nn.network import Network


def denoise_image(network: Network, normalisation: Mapping[str, float], hu: np.ndarray) -> np.ndarray:
    """Denoise one image.

    Parameters
    ----------
    network : Network
    normalisation : mapping
        {'shift_hu', 'scale_hu'}: the network sees (HU - shift) / scale, and its output is taken back to HU.
    hu : ndarray, shape (rows, columns)

    Returns
    -------
    ndarray of float32, shape (rows, columns)
        HU.
    """
    shift, scale = np.float32(normalisation["shift_hu"]), np.float32(normalisation["scale_hu"])
    return network.apply_in_strips((hu - shift) / scale) * scale + shift
