"""A small network and settings that train it in a moment, for the tests."""

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
