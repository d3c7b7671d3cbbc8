"""The memory and the open files of a training do not depend on how many patches there are, nor in how many files."""

import json
import subprocess
import sys

import numpy as np
import pytest
from small_training import NETWORK, TRAINING

from quietct.ct.volume import write_volume
from quietct.training_job import KEPT_OPEN

SIDE, FILES = 256, 150
ALLOWED_MB = 4
# Trains with few open files allowed, and prints the peaks of the process and of its worker in MB.
TRAIN = """
import json, resource, sys
from pathlib import Path
from quietct.training_job import train_network

folder, threads, architecture, training = map(json.loads, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (120, 120))
folder = Path(folder)
train_network(
    sorted(folder.glob("patches/*.npy")), folder / "preview.npy", folder / "preview.npy", None,
    weights=folder / "weights.npz", history=folder / "h.tsv", snapshots=folder / "s.npz", checkpoint=folder / "c.npz",
    names={"noise": "mild", "network": "small", "variant": "sgd"}, seed=1, architecture=architecture, variant={},
    training=training, window_hu=(-160, 240), threads=threads,
)
own = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps([own / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read from /proc")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Folders with patch pairs of 13 and 197 MB, by the number of files."""
    rng, folders = np.random.default_rng(1), {}
    hu = rng.integers(-1000, 1000, (5, 2, SIDE, SIDE), np.int16)
    for files in (10, FILES):
        folders[files] = tmp_path_factory.mktemp(f"files{files}")
        for k in range(files):
            write_volume(folders[files] / f"patches/{k:03}.npy", hu.shape, hu)
        write_volume(folders[files] / "preview.npy", (1, 64, 64), hu[0, :1, :64, :64].copy())
    return folders


def peaks(folder, threads):
    facts = str(folder), threads, NETWORK, TRAINING | {"epochs": 1, "checkpoint_seconds": 1}
    run = subprocess.run(
        [sys.executable, "-c", TRAIN, *map(json.dumps, facts)], capture_output=True, text=True, timeout=200, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_patch_set_in_many_files_takes_the_memory_of_a_small_one(sets, threads):
    assert KEPT_OPEN < 120 < FILES
    few, many = peaks(sets[10], threads), peaks(sets[FILES], threads)
    assert few[0] > 50
    assert bool(few[1]) == (threads > 1)
    for small, large in zip(few, many, strict=True):
        assert large - small < ALLOWED_MB
