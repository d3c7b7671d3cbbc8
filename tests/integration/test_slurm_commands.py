"""What is left of a Slurm cluster, of a group that is killed, and of a documented command when they are tried."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_server import wait_for
from slurm_cluster import SlurmCluster, check_installed
from slurm_runs import PATIENCE_S, Run, documented, ended_jobs_of, jobs_of, new_folder, on_slurm

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    check_installed()
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


def test_what_finished_in_a_group_stays_when_the_group_is_killed(cluster, tmp_path_factory, scans, repository):
    folder = new_folder(tmp_path_factory, "killed_group")
    shutil.copytree(scans, folder / "resources")
    volumes = {name: f"results/tiny/volumes/{name}.npy" for name in ("train_1", "test_1")}

    def done():
        return [name for name in volumes if (folder / volumes[name]).with_suffix(".json").exists()]

    with on_slurm(cluster, folder, repository, "--retries", "0", "--", *volumes.values()) as run:
        wait_for(lambda: done() or run.over(), PATIENCE_S)
        (job,) = jobs_of(cluster, folder)
        cluster.ask("scancel", job.number)
        wait_for(run.over, PATIENCE_S)
    assert run.process.returncode == 1
    assert [job.state for job in ended_jobs_of(cluster, folder)] == ["CANCELLED"]
    (first,) = done()
    (second,) = set(volumes) - {first}
    with Run(folder, repository, os.environ, "--cores", "2", "--", *volumes.values()) as again:
        wait_for(again.over, PATIENCE_S)
    assert f"Converting {second}" in again.text
    assert f"Converting {first}" not in again.text


def test_ctrl_c_cancels_what_is_in_the_queue(cluster, tmp_path_factory, repository):
    folder = new_folder(tmp_path_factory, "interrupted")
    with on_slurm(cluster, folder, repository, "--", "results/tiny/nodules/test_1.tsv") as run:
        wait_for(lambda: "has been submitted with SLURM jobid" in run.text, PATIENCE_S)
        wait_for(lambda: jobs_of(cluster, folder)[0].state == "RUNNING", PATIENCE_S)
        run.process.send_signal(signal.SIGINT)
        wait_for(run.over, PATIENCE_S)
    assert [job.state for job in ended_jobs_of(cluster, folder)] == ["CANCELLED"]


def test_the_documented_command_for_other_schedulers_works(cluster, tmp_path_factory, repository):
    folder = new_folder(tmp_path_factory, "generic")
    (folder / "logs/cluster").mkdir(parents=True)
    words = documented(repository, "--executor cluster-generic")
    with Run(folder, repository, cluster.environment, *words, "--", "results/tiny/nodules/test_1.tsv") as run:
        wait_for(lambda: jobs_of(cluster, folder), PATIENCE_S)
        cluster.ask("scancel", jobs_of(cluster, folder)[0].number)
        wait_for(run.over, PATIENCE_S)
    assert run.process.returncode == 0, run.text
    first, second = ended_jobs_of(cluster, folder)
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert (first.memory, second.memory) == ("1000M", "2000M")


SLEEPER = """
import subprocess, sys, time
sys.path[:0] = [{here!r}]
from slurm_cluster import SlurmCluster
with SlurmCluster({folder!r}) as cluster:
    cluster.ask("sbatch", "--output=/dev/null", "--wrap=sleep 600")
    while not [job for job in cluster.jobs() if job.state == "RUNNING"]:
        time.sleep(0.05)
    print("running", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_nothing_runs_on_when_whoever_started_the_cluster_is_interrupted(tmp_path, sent):
    check_installed()
    folder = tmp_path / "cluster"
    words = [sys.executable, "-c", SLEEPER.format(here=str(HERE), folder=str(folder))]
    starter = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert starter.stdout.readline() == b"running\n"
        everything = {"munged", "slurmctld", "slurmd", "sleep"}
        wait_for(lambda: everything <= {process.name() for process in SlurmCluster(folder).processes()})
        left = SlurmCluster(folder).processes()
        starter.send_signal(sent)
        starter.wait(60)
    finally:
        starter.kill()
        starter.wait()
        starter.stdout.close()
    wait_for(lambda: not any(process.is_running() for process in left))
    # Who is killed cannot tidy up; what is left are files in the test's own folder.
    assert folder.exists() == (sent == signal.SIGKILL)


def test_the_machine_s_own_configuration_stays_its_own(cluster):
    assert (cluster.folder / "munge.key").exists()
    assert not Path("/etc/slurm/munge.key").exists()
