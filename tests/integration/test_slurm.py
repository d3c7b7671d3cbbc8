"""The tiny experiment on a Slurm cluster that kills some of its jobs, compared with a run on this machine alone."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from faulty_server import wait_for
from slurm_cluster import SlurmCluster, SlurmJob, check_installed
from slurm_runs import PATIENCE_S, Run, documented, ended_jobs_of, jobs_of, new_folder, on_slurm

# Everything but pictures, whose many jobs would only cost time here; the run's record stands for itself.
TARGETS = ["results/tiny/summary.tsv", "results/tiny/config.yaml"]
CANCELLED = "rule_train_network_wildcards_gaussian_10_small_sgd_1"
FROZEN = "rule_train_network_wildcards_gaussian_10_small_dilated_gradient_noise_1"
LOGS = {
    CANCELLED: "logs/tiny/train_network/gaussian_10/small-sgd-seed1.log",
    FROZEN: "logs/tiny/train_network/gaussian_10/small-dilated_gradient_noise-seed1.log",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    check_installed()
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


def attempts(jobs, comment):
    return [job for job in jobs if job.comment == comment]


def kill(cluster, run):
    """Cancel one training in the act and freeze another, so that its time is up; return when both are done."""
    left = dict(LOGS)

    def done():
        assert not run.over(), run.text
        running = {job.comment: job for job in jobs_of(cluster, run.folder) if job.state == "RUNNING"}
        for comment in running.keys() & left.keys():
            log = run.folder / left[comment]
            if not log.exists() or "Epoch 1 of 100" not in log.read_text():
                continue
            if comment == CANCELLED:
                cluster.ask("scancel", running[comment].number)
            else:
                frozen = [process for process in cluster.processes() if runs_job(process, running[comment].number)]
                if not frozen:
                    continue
                for process in frozen:
                    process.suspend()
            del left[comment]
        return not left

    wait_for(done, PATIENCE_S)


def runs_job(process, number):
    try:
        return process.environ().get("SLURM_JOB_ID") == number and "python" in process.name()
    except psutil.Error:
        return False


@dataclass
class Finished:
    folder: Path
    local: Path  # the same run on this machine alone
    jobs: list[SlurmJob]


@pytest.fixture(scope="module")
def finished(cluster, tmp_path_factory, repository):
    folder, local = (new_folder(tmp_path_factory, name) for name in ("on_slurm", "local"))
    too_little = [
        "locate_nodules:mem_mb=30 if attempt == 1 else 1000",
        "train_network:runtime=1 if attempt == 1 and wildcards.variant != 'sgd' else 10 * attempt",
    ]
    with (
        on_slurm(cluster, folder, repository, "--set-resources", *too_little, "--", *TARGETS) as run,
        Run(local, repository, os.environ, "--cores", "2", "--", *TARGETS) as reference,
    ):
        kill(cluster, run)
        for one in (reference, run):
            wait_for(one.over, PATIENCE_S)
            assert one.process.returncode == 0, one.text
    return Finished(folder, local, ended_jobs_of(cluster, folder))


def test_jobs_run_on_both_nodes(finished):
    assert {job.node for job in finished.jobs if job.state == "COMPLETED"} == {"n1", "n2"}


@pytest.mark.parametrize(
    ("comment", "state", "limits"),
    [(CANCELLED, "CANCELLED", ("10:00", "20:00")), (FROZEN, "TIMEOUT", ("1:00", "20:00"))],
    ids=["cancelled", "over its time"],
)
def test_a_killed_training_goes_on_with_more_memory_and_time(finished, comment, state, limits):
    first, second = attempts(finished.jobs, comment)
    assert (first.state, second.state) == (state, "COMPLETED")
    assert (first.memory, second.memory) == ("1000M", "2000M")
    assert (first.time_limit, second.time_limit) == limits
    assert "Going on from the checkpoint" in (finished.folder / LOGS[comment]).read_text()
    assert not list(finished.folder.glob("results/tiny/checkpoints/**/*.npz"))


def test_a_job_over_its_memory_is_tried_again_with_more(finished):
    first, second = attempts(finished.jobs, "rule_nodules_locate_nodules")
    assert (first.memory, second.memory) == ("30M", "1000M")
    assert first.state in ("CANCELLED", "FAILED", "OUT_OF_MEMORY")
    assert second.state == "COMPLETED"


def test_small_jobs_of_one_kind_are_one_entry_with_the_memory_of_one_and_the_time_of_all(finished):
    (conversions,) = attempts(finished.jobs, "rule_convert_convert_series")
    assert (conversions.cores, conversions.memory, conversions.time_limit) == ("1", "1000M", "20:00")
    assert len([job for job in finished.jobs if "train_network" in job.comment]) == 4  # two, and both again


def test_results_are_those_of_a_local_run_byte_for_byte(finished):
    def read(folder):
        results = folder / "results/tiny"
        files = [path for path in results.rglob("*") if path.is_file()]
        return {str(path.relative_to(results)): path.read_bytes() for path in files}

    # How long jobs took, and when the run began.
    differ = ("benchmarks/", "stages.tsv", "config.yaml")
    here, there = (read(folder) for folder in (finished.local, finished.folder))
    assert set(here) == set(there)
    compared = {name for name in here if not name.startswith(differ)}
    assert {name.split("/")[0] for name in compared} >= {
        "volumes", "noisy", "patches", "models", "baselines", "denoised", "metrics", "physics", "summary.tsv"
    }  # fmt: skip
    assert [name for name in sorted(compared) if here[name] != there[name]] == []


def test_the_documented_command_groups_what_comes_after_the_trainings(cluster, finished, tmp_path, repository):
    made = ("denoised", "metrics", "physics", "summary.tsv")
    folder = shutil.copytree(finished.local, tmp_path / "copy", ignore=shutil.ignore_patterns(*made))
    words = documented(repository, "--allowed-rules")
    with Run(folder, repository, cluster.environment, "-n", "--slurm-status-command", "squeue", *words) as plan:
        wait_for(plan.over, PATIENCE_S)
    assert plan.process.returncode == 0, plan.text
    assert sorted(re.findall(r"Group job (\w+)", plan.text)) == ["denoise", "physics", "quality"]
