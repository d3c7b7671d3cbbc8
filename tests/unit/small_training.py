"""A small network, settings that train it in a moment, and data for it, for the tests."""

import numpy as np

from quietct.ct.volume import new_volume
from quietct.training_job import train_network

TRAINING = {
    "epochs": 6,
    "batch_size": 4,
    "augment": True,
    "init": "shared",
    "normalisation": {"shift_hu": 0, "scale_hu": 500},
    "loss": {"kind": "mean_squared_error"},
    "optimiser": {"kind": "adam"},
    "learning_rate": 0.005,
    "schedule": {"kind": "cosine", "final_fraction": 0.1},
    "snapshots": 3,
    "checkpoint_seconds": 0,
}
NETWORK = {
    "layers": [{"filters": 4, "kernel": 3}, {"filters": 1, "kernel": 3}],
    "residual": True,
    "initialiser": {"kind": "he"},
}
BOTH = {
    "gradient_noise": {"mode": "relative", "ratio": 0.3, "gamma": 0.55},
    "dilation": {"p": 0.05, "d": 0.07},
}
FILES = {"weights": ".npz", "history": ".tsv", "snapshots": ".npz"}


def write_data(folder):
    """Write noisy stripes: two patch files and a preview slice."""
    rng = np.random.default_rng(5)
    stripes = 200 * np.sign(np.sin(np.arange(24) / 3)) * np.ones((24, 1))
    for name, count in (("a", 7), ("b", 6)):
        with new_volume(folder / f"{name}.npy", (count, 2, 24, 24)) as patches:
            for k, noise in enumerate(rng.normal(0, 80, (count, 24, 24))):
                patches[k] = stripes + noise, stripes
    for name, noise in (("clean", 0), ("noisy", 80)):
        with new_volume(folder / f"{name}.npy", (3, 24, 24)) as volume:
            volume[...] = stripes + rng.normal(0, noise, (3, 24, 24))
    return folder


def train(data, out="out", **changes):
    """Train on that data; what it writes goes to a folder beside it, or anywhere."""
    keywords = {
        "patches": [data / "a.npy", data / "b.npy"],
        "preview_noisy": data / "noisy.npy",
        "preview_clean": data / "clean.npy",
        "preview_slice": None,
        "checkpoint": data / out / "checkpoint.npz",
        "names": {"noise": "some", "network": "small", "variant": "sgd"},
        "seed": 1,
        "architecture": NETWORK,
        "variant": {},
        "training": TRAINING,
        "window_hu": (-500, 500),
    } | changes
    outputs = {name: data / out / f"{name}{suffix}" for name, suffix in FILES.items()}
    train_network(**keywords, **outputs)
    return outputs
