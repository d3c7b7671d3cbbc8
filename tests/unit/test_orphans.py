"""A script does not outlive the Snakemake that has started it."""

import os
import subprocess
import sys
import time

import pytest

from quietct.orphans import STARTED_BY, is_running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a process of its parent's end")

SCRIPT = """
import time
from quietct.orphans import end_with_starter
end_with_starter()
print("up", flush=True)
time.sleep(60)
"""
STARTER = f"""
import os, subprocess, sys, time
os.environ["{STARTED_BY}"] = str(os.getpid())
child = subprocess.Popen([sys.executable, "-c", {SCRIPT!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def gone(process):
    end = time.monotonic() + 10
    while is_running(process) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_running(process)


def test_a_script_ends_with_its_killed_starter():
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as starter:
        script = int(starter.stdout.readline())
        assert is_running(script)
        starter.kill()
    assert gone(script)


POOL = """
import os, sys, time
import numpy as np
from quietct.ct.noise import noisy_slices
from quietct.ct.volume import new_volume
with new_volume(sys.argv[1], (2, 8, 8)) as volume:
    volume[:] = 0
def slow(k, hu):
    os.write(1, b"%d\\n" % os.getpid())  # in one go: both write to one pipe
    time.sleep(60)
list(noisy_slices(slow, sys.argv[1], 2, 2))
"""


def test_processes_that_share_out_slices_end_with_their_script(tmp_path):
    command = [sys.executable, "-c", POOL, str(tmp_path / "v.npy")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as script:
        processes = [int(script.stdout.readline()) for _ in range(2)]
        assert len(set(processes)) == 2
        script.kill()
    assert all(gone(process) for process in processes)


def run(number):
    environment = {**os.environ, STARTED_BY: number}
    program = SCRIPT.replace("time.sleep(60)", "")
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)


def test_a_script_whose_starter_is_dead_before_it_begins_does_nothing():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    done = run(str(dead.pid))
    assert done.returncode < 0
    assert done.stdout == ""


@pytest.mark.parametrize("number", ["", str(os.getpid())], ids=["by hand", "by a living process"])
def test_a_script_that_is_started_by_hand_or_by_a_living_process_goes_on(number):
    assert run(number).stdout == "up\n"
