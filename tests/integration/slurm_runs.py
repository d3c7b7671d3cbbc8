"""Runs of the tiny experiment, on a Slurm cluster and without one."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from faulty_server import wait_for

WORKFLOW_TESTS = Path(__file__).parents[1] / "workflow"
# Slurm looks for jobs over their limit twice a minute, and other tests keep the machine busy.
PATIENCE_S = 600


class Run:
    """A running Snakemake whose words go to a file."""

    def __init__(self, folder, repository, environment, *words):
        self.folder, self.output = folder, folder / "output.txt"
        start = [sys.executable, "-m", "snakemake", "-s", repository / "Snakefile", "--directory", folder]
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in [*start, "--configfile", "tiny.yaml", *words]],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def over(self):
        return self.process.poll() is not None

    @property
    def text(self):
        return self.output.read_text(errors="replace")


def on_slurm(cluster, folder, repository, *words):
    """A run with the profile as it is; only the status of jobs is asked for more often than on a real cluster."""
    profile = ["--workflow-profile", repository / "profiles/slurm", "--slurm-status-command", "squeue"]
    quick = ["--slurm-init-seconds-before-status-checks", "1"]
    return Run(folder, repository, cluster.environment, *profile, *quick, *words)


def new_folder(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp(f"run_{name}")
    shutil.copy(WORKFLOW_TESTS / "tiny.tsv", folder)
    config = (WORKFLOW_TESTS / "tiny.yaml").read_text()
    # A training long enough to be caught in the act, and one baseline is enough.
    for old, new in [("epochs: 2\n", "epochs: 100\n"), ("  median: {size_px: [3]}\n", "")]:
        assert old in config
        config = config.replace(old, new)
    (folder / "tiny.yaml").write_text(config)
    return folder


def jobs_of(cluster, folder):
    return [job for job in cluster.jobs() if job.folder == str(folder)]


def ended_jobs_of(cluster, folder):
    """The same once all of them have come to an end, which takes Slurm a moment longer than Snakemake."""
    wait_for(lambda: not {"RUNNING", "COMPLETING"} & {job.state for job in jobs_of(cluster, folder)}, PATIENCE_S)
    return jobs_of(cluster, folder)


def documented(repository, part):
    """The words after `snakemake` of the command in docs/cluster.md that has a part in it, for the tiny experiment."""
    blocks = (repository / "docs/cluster.md").read_text().split("```sh\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].replace("\\\n", " ").splitlines()]
    (command,) = [line for line in lines if part in line]
    for old, new in {
        "config/phantom_fda_all.yaml": "tiny.yaml",
        "phantom_fda_all": "tiny",
        "profiles/slurm": str(repository / "profiles/slurm"),
    }.items():
        command = command.replace(old, new)
    return shlex.split(command)[1:]
