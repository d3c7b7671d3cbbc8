"""Run Snakemake as a user does: a process of its own, in a folder of its own."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from plans import pretend_to_run
from repeat_scans import make_truth

from quietct.experiment.settings import load_yaml

HERE = Path(__file__).parent


@dataclass
class Outcome:
    status: int
    text: str  # all that was printed

    @property
    def errors(self):
        """The sentences that tell a mistake of the user, from the Snakefile or from a script."""
        lines = [line.partition("Error: ")[2] for line in self.text.splitlines() if "Error: " in line]
        return list(dict.fromkeys(lines))  # a script's sentence is on the screen and again in the log that is shown

    @property
    def jobs(self):
        """Jobs by rule, from the last table that Snakemake printed."""
        table = self.text.rpartition("Job stats:")[2].split("total")[0]
        rows = [line.split() for line in table.splitlines()]
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


@pytest.fixture(scope="session")
def command(repository):
    """Function that gives the words of a Snakemake command."""

    def words(folder, *words, repository=repository):
        start = [sys.executable, "-m", "snakemake", "-s", repository / "Snakefile", "--directory", folder]
        return [str(word) for word in [*start, "--cores", "2", *words]]

    return words


@pytest.fixture(scope="session")
def snakemake(repository, command):
    """Function that runs Snakemake in a folder and gives its `Outcome`."""

    def run(folder, *words, repository=repository):
        done = subprocess.run(
            command(folder, *words, repository=repository),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )
        return Outcome(done.returncode, done.stdout)

    return run


@pytest.fixture(scope="session")
def tiny_config():
    return load_yaml(HERE / "tiny.yaml")


@pytest.fixture(scope="session")
def truth():
    """Eleven slices of the synthetic chest without noise, HU (11, 512, 512)."""
    return make_truth(11)


def new_folder(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp(name)
    copy_experiment(folder)
    return folder


def copy_experiment(folder):
    for name in ("tiny.yaml", "tiny.tsv"):
        shutil.copy(HERE / name, folder)


@pytest.fixture
def folder(tmp_path_factory):
    """A folder with the tiny config and sheet, and no results."""
    return new_folder(tmp_path_factory, "empty")


@pytest.fixture
def fetched(folder, scans):
    """Such a folder in which the scans lie already."""
    shutil.copytree(scans, folder / "resources")
    return folder


@pytest.fixture(scope="session")
def finished(made_once, snakemake):
    """The folder of a finished tiny run; tests only look at it or run what has nothing to do."""

    def make(folder):
        copy_experiment(folder)
        outcome = snakemake(folder, "--configfile", "tiny.yaml")
        assert outcome.status == 0, outcome.text

    return made_once("finished", make)


@pytest.fixture(scope="session")
def rich(tmp_path_factory):
    """The folder of an experiment with every kind of stage, finished as far as Snakemake can tell; see `plans`."""
    folder = tmp_path_factory.mktemp("rich") / "here"
    folder.mkdir()
    pretend_to_run(folder)
    return folder
