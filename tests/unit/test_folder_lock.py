"""The lock of a killed Snakemake is removed, that of a living one never."""

import subprocess
import sys

import pytest

from quietct.errors import UserError
from quietct.workflow.folder_lock import check_writable, remove_dead_lock

pytest.importorskip("fcntl")

# Does what a Snakemake does with this workflow: look for a dead lock, then lock the folder, and work.
WORK = """
import sys, time
from pathlib import Path
from quietct.workflow.folder_lock import check_writable, remove_dead_lock
state = Path(sys.argv[1])
check_writable(state)
print(remove_dead_lock(state), flush=True)
if "lock" in sys.argv:
    (state / "locks").mkdir(exist_ok=True)
    (state / "locks/0.output.lock").write_text("a")
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def state(tmp_path):
    return tmp_path / ".snakemake"


def look(state):
    done = subprocess.run([sys.executable, "-c", WORK, state], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


def lock_and(state, meanwhile):
    """Lock the folder as a Snakemake, do something meanwhile, and be killed."""
    with subprocess.Popen([sys.executable, "-c", WORK, state, "lock"], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        assert process.stdout.readline() == "locked\n"
        outcome = meanwhile(state)
        process.kill()
    return outcome


def test_the_lock_of_a_living_snakemake_stays_and_that_of_a_killed_one_goes(state):
    assert lock_and(state, look) is False
    assert (state / "locks/0.output.lock").exists()
    assert look(state) is True
    assert not list((state / "locks").iterdir())
    assert look(state) is False


def test_a_second_kill_is_no_different(state):
    for _ in range(2):
        lock_and(state, look)
        assert look(state)


def test_a_lock_that_another_machine_left_stays(state):
    lock_and(state, look)
    (state / "quietct.lock").write_text("another-machine")
    assert not look(state)
    assert (state / "locks/0.output.lock").exists()


def test_where_nothing_can_be_written_it_says_so_and_removes_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^Nothing can be written in .*file \(Not a directory\)\. .*--directory\.$"):
        check_writable(tmp_path / "file" / ".snakemake")
    assert remove_dead_lock(tmp_path / "file" / ".snakemake") is False
