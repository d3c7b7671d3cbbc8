"""Measure how much memory a training needs for a small patch set and for a large one.

    .venv/bin/python benchmarks/training_memory.py --json training_memory.json

Writes patch sets of the wanted sizes, of random pixels in many files, trains a small network on each for an epoch by
`train_network`, as the workflow does, and deletes them. The time is hardly that of arithmetic, so that the files are
read as fast as they ever are. Linux alone tells the memory.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from memory import KNOWN_HERE, proportional, status
from quietct.ct.volume import write_volume
from quietct.training_job import train_network
from table import describe_machine, print_facts, print_table, write_json

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
SIDE = 64
PAIR_BYTES = 2 * SIDE * SIDE * np.dtype(np.int16).itemsize
PAIRS_OF_FILE = 160  # 2.6 MB: more than a thousand files well before 10 GB
NETWORK = {
    "layers": [{"filters": 2, "kernel": 3}, {"filters": 1, "kernel": 3}],
    "residual": True,
    "initialiser": {"kind": "he"},
}
COLUMNS = {
    "set_mb": ("patch set MB", "{:.0f}"),
    "files": ("files", "{}"),
    "patches": ("patches", "{}"),
    "threads": ("threads", "{}"),
    "peak_rss_mib": ("peak RSS MiB", "{:.1f}"),
    "peak_pss_mib": ("peak PSS with workers MiB", "{:.1f}"),
    "seconds": ("s", "{:.0f}"),
}


def main() -> None:
    """Measure, print and write."""
    options = read_options()
    if options.train:
        train(options.train, options.threads[0])
        return
    if not KNOWN_HERE:
        sys.exit("Only Linux tells how much memory a process needed.")
    facts = describe_machine()
    print_facts(facts)
    rows = []
    for set_mb in options.mb:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            files = write_patches(Path(folder), set_mb)
            for threads in options.threads:
                known = {"set_mb": set_mb, "files": files, "patches": files * PAIRS_OF_FILE, "threads": threads}
                rows.append(known | measure(Path(folder), threads))
                print(f"{set_mb:g} MB by {threads} done", file=sys.stderr)
    print_table(COLUMNS, rows)
    if options.json:
        write_json(options.json, COLUMNS, rows, facts)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, nargs="+", default=[100, 10_000], help="sizes of the sets (100 10000)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of workers (1 2)")
    parser.add_argument("--folder", type=Path, help="where the sets are written for a while")
    parser.add_argument("--json", type=Path, help="file to write: a list with one object per line of the table")
    parser.add_argument("--quick", action="store_true", help="5 and 20 MB: shows in seconds that all works")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)  # what the process does that is measured
    options = parser.parse_args()
    if options.quick:
        options.mb = [5, 20]
    return options


def write_patches(folder: Path, set_mb: float) -> int:
    """Write a patch set of about that size, and slices for the preview; give the number of patch files."""
    rng = np.random.default_rng(1)
    files = max(1, round(set_mb * 1e6 / (PAIRS_OF_FILE * PAIR_BYTES)))
    for k in range(files):
        hu = rng.integers(-1000, 1000, (PAIRS_OF_FILE, 2, SIDE, SIDE), np.int16)
        write_volume(folder / "patches" / f"{k:05}.npy", hu.shape, hu)
    write_volume(folder / "preview.npy", (1, 512, 512), [np.zeros((512, 512), np.int16)])
    return files


def measure(folder: Path, threads: int) -> dict[str, float]:
    """Train in a process of its own, and look at its memory and that of its workers all the while."""
    start = time.monotonic()
    words = [sys.executable, __file__, "--train", folder, "--threads", threads]
    process = subprocess.Popen([str(word) for word in words])
    own = family = 0
    while process.poll() is None:
        try:
            own = max(own, status(process.pid, "VmHWM"))
        except (FileNotFoundError, ProcessLookupError, StopIteration):
            break  # it has just ended
        family = max(family, proportional(process.pid))
        time.sleep(0.05)
    if process.wait():
        sys.exit("The training failed.")
    return {"peak_rss_mib": own / 1024, "peak_pss_mib": family / 1024, "seconds": time.monotonic() - start}


def train(folder: Path, threads: int) -> None:
    """Train for an epoch."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    train_network(
        sorted((folder / "patches").iterdir()),
        folder / "preview.npy",
        folder / "preview.npy",
        None,
        weights=folder / "weights.npz",
        history=folder / "history.tsv",
        snapshots=folder / "snapshots.npz",
        checkpoint=folder / "checkpoint.npz",
        names={"noise": "none", "network": "small", "variant": "sgd"},
        seed=1,
        architecture=NETWORK,
        variant={},
        training=config["train"] | {"epochs": 1, "batch_size": 32, "checkpoint_seconds": 1},
        window_hu=config["window_hu"],
        threads=threads,
    )


if __name__ == "__main__":
    main()
