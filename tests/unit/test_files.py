import errno
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from quietct.ct.volume import new_volume
from quietct.errors import UserError
from quietct.files import written_whole


def write_half(target, error, kind="file"):
    with written_whole(target) as partial:
        if kind == "file":
            partial.write_text("half")
        else:
            partial.mkdir()
            (partial / "new").write_text("half")
        raise error


def test_a_file_appears_when_the_block_ends(tmp_path):
    with written_whole(tmp_path / "a" / "b.txt") as partial:
        partial.write_text("whole")
        assert partial.parent == tmp_path / "a"  # the same disk, so that renaming is one step
        assert partial.suffix == ".txt"
        assert not (tmp_path / "a" / "b.txt").exists()
    assert (tmp_path / "a" / "b.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_error_leaves_what_was_there_before(tmp_path, kind):
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("old")
    else:
        target.mkdir()
        (target / "old").write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_half(target, ZeroDivisionError(), kind)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert (target if kind == "file" else target / "old").read_text() == "old"


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_replaces_the_old_one_completely(tmp_path):
    for name in ("first", "second"):
        with written_whole(tmp_path / "d") as partial:
            partial.mkdir()
            (partial / name).write_text(name)
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["second"]


def test_a_block_that_writes_nothing_keeps_the_old_folder(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").write_text("old")
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "d"):
        pass
    assert (tmp_path / "d" / "old").exists()


def test_the_rest_of_a_killed_process_is_in_nobodys_way(tmp_path):
    with written_whole(tmp_path / "d") as partial:
        partial.mkdir()
    partial.mkdir()  # what a process with the same number left when it was killed
    (partial / "rest").write_text("half")
    with written_whole(tmp_path / "d") as again:
        assert again == partial
        again.mkdir()
        (again / "new").write_text("whole")
    assert [path.name for path in tmp_path.rglob("*")] == ["d", "new"]


def test_the_rest_of_any_killed_process_is_swept_and_that_of_a_running_one_is_not(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    here, elsewhere = platform.node(), "another-machine"
    killed, running = (tmp_path / f".a.part-{here}-{number}.npz" for number in (ended.pid, os.getppid()))
    unknown = tmp_path / f".a.part-{elsewhere}-{ended.pid}.npz"  # of a machine that shares the folder
    for path in (killed, running, unknown):
        path.write_text("half")
    (tmp_path / ".a.part-of mine.npz").write_text("other")
    with written_whole(tmp_path / "a.npz") as partial:
        partial.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", ".a.part-of mine.npz", running.name, unknown.name}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_in_a_sentence(tmp_path, number):
    with pytest.raises(UserError, match="disk is full"):
        write_half(tmp_path / "a", OSError(number, os.strerror(number)))
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder_ends_in_a_sentence(small_disk):
    (small_disk / "a").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for name in ("a/f", "new/f"):
        with pytest.raises(UserError, match=rf"{name} could not be written, for its folder is read-only\. .*\.$"):
            write_half(small_disk / name, ZeroDivisionError())


TWO_WRITERS = """
import sys
from quietct.files import written_whole
for k in range(200):
    with written_whole(sys.argv[1]) as partial:
        partial.mkdir()
        for name in "ab":
            (partial / name).write_text(sys.argv[2])
"""


def test_a_folder_that_two_processes_write_at_a_time_is_whole_and_of_one_of_them(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", TWO_WRITERS, tmp_path / "d", name]) for name in ("1", "2")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    first, second = ((tmp_path / "d" / name).read_text() for name in "ab")
    assert first == second


def test_a_full_disk_is_known_behind_the_error_of_a_library(tmp_path):
    def write():
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise OSError("With tag (7fe0, 0010) got exception") from error  # as pydicom does

    with pytest.raises(UserError, match="disk is full"), written_whole(tmp_path / "a"):
        write()


def test_other_errors_of_the_system_are_not_hidden(tmp_path):
    with pytest.raises(PermissionError), written_whole(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "no")


def test_a_disk_that_is_really_full_ends_in_a_sentence(small_disk):
    with pytest.raises(UserError, match="disk is full"), new_volume(small_disk / "v.npy", (8, 512, 512)) as volume:
        volume[:] = np.int16(1)
    with pytest.raises(UserError, match="disk is full"), written_whole(small_disk / "f") as partial:
        partial.write_bytes(b"x" * (2 << 20))
    with pytest.raises(UserError, match="disk is full"), written_whole(small_disk / "a.npy") as partial:
        np.save(partial, np.ones(1 << 20))
    assert list(small_disk.iterdir()) == []
