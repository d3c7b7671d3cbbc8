"""Ten kills at random moments in one run: of trainers, their workers, other scripts and Snakemake itself.

The run has every stage of the tiny experiment but pictures that no other stage needs.
After each the same command is run again and asks for nothing else; the results are those of an undisturbed run. The
seed is in the name of the test; QUIETCT_FAULT_SEED="7 8 9" chooses others.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

HERE = Path(__file__).parent
KILLS = 10
SEEDS = [int(word) for word in os.environ.get("QUIETCT_FAULT_SEED", "1").split()]
VICTIMS = ["script", "trainer", "worker", "Snakemake alone", "Snakemake and all scripts"]
NETWORK = "small-dilated_gradient_noise-seed1"
WORDS = [
    f"results/tiny/weights/gaussian_10-{NETWORK}.npz",
    f"results/tiny/gifs/gaussian_10/training-{NETWORK}.gif",
    f"results/tiny/gifs/gaussian_10/scroll-{NETWORK}-test_1.gif",
    "results/tiny/figures/gaussian_10/contact-sheet.png",
    "results/tiny/verdict.json",
    "--configfile",
    "small.yaml",
]


@pytest.fixture(scope="module")
def small_config(tiny_config):
    """The tiny experiment with one training, long enough to be met at work, by two processes."""
    variant = "dilated_gradient_noise"
    return {
        **tiny_config,
        "variants": {variant: tiny_config["variants"][variant]},
        "baselines": {"gaussian": {"sigma_px": [1.0]}},
        "train": {**tiny_config["train"], "epochs": 150, "batch_size": 16, "threads": 2},
        "patches": {**tiny_config["patches"], "size": 48},
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, small_config, scans, snakemake):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(scans, folder / "resources")
    prepare(folder, small_config)
    outcome = snakemake(folder, *WORDS)
    assert outcome.status == 0, outcome.text
    return folder


def prepare(folder, config):
    shutil.copy(HERE / "tiny.tsv", folder)
    (folder / "small.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize("seed", SEEDS)
def test_ten_kills_at_random_moments_change_no_result(
    seed, tmp_path_factory, undisturbed, small_config, snakemake, command
):
    folder = tmp_path_factory.mktemp("disturbed")
    prepare(folder, small_config)
    events = Kills(seed, folder, command(folder, *WORDS)).run()
    print("\n".join(events))
    assert len(events) >= KILLS
    outcome = snakemake(folder, *WORDS)
    assert outcome.status == 0, outcome.text
    assert "Nothing to be done" in snakemake(folder, *WORDS).text
    assert results(folder) == results(undisturbed)


def results(folder):
    """All files of a run as bytes, but for times: of the stages, and of the report that shows them."""
    root = folder / "results/tiny"
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if not name.startswith("benchmarks/") and name not in ("stages.tsv", "report.html")
    }


class Kills:
    """Runs a command again and again, and kills at moments that are drawn from a seed."""

    def __init__(self, seed, folder, words):
        self.random, self.folder, self.words = random.Random(seed), folder, words
        self.process = None
        self.events = []

    def run(self):
        try:
            while len(self.events) < KILLS:
                if self.process is None or self.process.poll() is not None:
                    self.start()
                victim = self.random.choice(VICTIMS)
                self.wait(victim in ("trainer", "worker"))
                self.kill(victim)
        finally:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
        return self.events

    def start(self):
        if self.process is not None and self.process.returncode == 0:
            # Done before the last kill: results are lost, and made again.
            for name in ("figures", "gifs", "weights"):
                shutil.rmtree(self.folder / "results/tiny" / name)
            (self.folder / "results/tiny/verdict.json").unlink()
        with open(self.folder / "screen.txt", "ab") as screen:
            self.process = subprocess.Popen(
                self.words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen,
                start_new_session=True,
            )  # fmt: skip

    def wait(self, for_training):
        """Wait until a training or some scripts have begun, and a little longer."""
        seen, wanted, end = set(), self.random.randint(0, 5), time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < end:
            scripts = self.scripts()
            seen |= {script.pid for script in scripts}
            if any(named(script, "train_network") for script in scripts) if for_training else len(seen) >= wanted:
                break
            time.sleep(0.02)
        time.sleep(self.random.uniform(0, 1))

    def scripts(self):
        try:
            children = psutil.Process(self.process.pid).children()
            return [child for child in children if any(".snakemake/scripts/" in word for word in child.cmdline())]
        except psutil.Error:
            return []

    def kill(self, victim):
        if self.process.poll() is not None:
            return  # it has ended by itself
        if victim.startswith("Snakemake"):
            if victim.endswith("alone"):
                self.process.kill()
            else:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.events.append(victim)
            return
        scripts = self.scripts()
        trainers = [script for script in scripts if named(script, "train_network")]
        with suppress(psutil.Error, IndexError):  # one that has ended by itself
            workers = [worker for trainer in trainers for worker in trainer.children()]
            one = self.random.choice({"worker": workers, "trainer": trainers}.get(victim) or scripts)
            name = Path(one.cmdline()[-1]).name
            one.kill()
            self.events.append(f"{victim}: {name}")


def named(script, name):
    try:
        return any(word.endswith(f"{name}.py") for word in script.cmdline())
    except psutil.Error:
        return False
