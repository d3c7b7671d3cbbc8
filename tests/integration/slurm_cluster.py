"""A Slurm cluster of two nodes on this machine, which ends with whoever started it."""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from faulty_server import wait_for

PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
PACKAGES = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm"}

CONFIG = """\
ClusterName=quietct
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
MpiDefault=none
# Of any machine, whatever it lets us do with cgroups. Processes are found by their parents, and memory is looked at
# once a second.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
# Each job goes to the node with less to do.
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory,CR_LLN
SlurmdParameters=config_overrides
# Tests look at jobs that are over, and wait for those that are killed.
MinJobAge=3600
KillWait=1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=16000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=16000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""

# The first process of a PID namespace: with it the kernel ends all others, jobs too. In a mount namespace /etc/slurm is
# ours; the executor's srun looks for the configuration there, whatever SLURM_CONF says.
DAEMONS = """\
mount --bind . /etc/slurm
munged --foreground --force --key-file=munge.key --socket=munge.socket --pid-file=munged.pid --seed-file=munged.seed &
slurmctld -D -i &
slurmd -D -N n1 &
slurmd -D -N n2 &
wait
"""
ALONE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@dataclass
class SlurmJob:
    number: str
    state: str
    node: str
    cores: str
    memory: str
    time_limit: str
    folder: str  # where it was submitted
    comment: str  # the rule and its wildcards


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for taken in sockets:
            taken.bind(("127.0.0.1", 0))
        return [taken.getsockname()[1] for taken in sockets]
    finally:
        for taken in sockets:
            taken.close()


def check_installed():
    for program, package in PACKAGES.items():
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is missing: apt-get install slurm-wlm munge ({package})")
    pytest.importorskip(
        "snakemake_executor_plugin_slurm", reason="it is missing: pip install snakemake-executor-plugin-slurm"
    )
    if subprocess.run([*ALONE, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("a process of one's own PID namespace needs the rights of root")


class SlurmCluster:
    """Munge, a controller and two node daemons that know nothing of the machine's own, if it has any.

    All of its files are in `folder`, which is made, and removed in the end.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self):
        for name in ("", "state", "spool-n1", "spool-n2"):
            (self.folder / name).mkdir(mode=0o700)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        settings = {"host": socket.gethostname().partition(".")[0], "folder": self.folder, "ports": free_ports(3)}
        (self.folder / "slurm.conf").write_text(CONFIG.format(**settings))
        with open(self.folder / "daemons.log", "wb") as log:
            self.process = subprocess.Popen(
                [*ALONE, "sh", "-ec", DAEMONS],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(self._is_up, seconds=60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not self.processes(), seconds=30)
        shutil.rmtree(self.folder)

    def _is_up(self):
        assert self.process.poll() is None, (self.folder / "daemons.log").read_text(errors="replace")
        done = self._run("sinfo", "--noheader", "--format=%T %D")
        return done.returncode == 0 and done.stdout.split() == ["idle", "2"]

    def _run(self, *words):
        return subprocess.run(
            words,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ask(self, *words):
        """What a Slurm command prints."""
        done = self._run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self):
        """All jobs there were, in the order of their numbers."""
        table = self.ask("squeue", "--noheader", "--states=all", "--sort=i", "--format=%i|%T|%N|%C|%m|%l|%Z|%k")
        return [SlurmJob(*line.split("|")) for line in table.splitlines()]

    def processes(self):
        """Processes of this cluster: its daemons, and what runs in jobs."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    found.append(process)
            except psutil.Error:
                continue  # over, or somebody else's
        return found
