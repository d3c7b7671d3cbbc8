"""Denoising a volume: what a diverged network cannot compute is marked and told."""

import logging

import numpy as np
import pytest

from quietct.ct.volume import NO_VALUE, new_volume
from quietct.denoising import denoise_series
from quietct.nn.architecture import Architecture
from quietct.nn.network import Network
from quietct.nn.weights import save_network


@pytest.fixture
def noisy(tmp_path):
    """Three slices, of which only the middle one is not empty."""
    with new_volume(tmp_path / "noisy.npy", (3, 24, 20)) as volume:
        volume[1] = np.pad(np.full((5, 7), 500), ((4, 15), (5, 8)))
    return tmp_path / "noisy.npy"


def test_what_a_diverged_network_gives_is_no_value_and_the_log_counts_the_slices(noisy, tmp_path, caplog):
    network = Network(Architecture.from_config({"layers": [{"filters": 1, "kernel": 3}] * 3, "residual": False}))
    network.initialise(np.random.default_rng(0))
    network.parameters[network.parameters != 0] = 1e30  # three layers overflow, unless all they see is 0
    save_network(tmp_path / "weights.npz", network, {"normalisation": {"shift_hu": 0, "scale_hu": 1000}})
    with caplog.at_level(logging.WARNING):
        denoise_series(tmp_path / "weights.npz", noisy, tmp_path / "denoised.npy")
    result = np.load(tmp_path / "denoised.npy")
    assert (result == NO_VALUE).any(axis=(1, 2)).tolist() == [False, True, False]
    assert "weights.npz gave no numbers in 1 of 3 slices" in caplog.text
