"""Who is at work in a folder: a killed Snakemake leaves a lock there, which this tells from that of a living one."""

from __future__ import annotations

import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

from quietct.errors import UserError

_held: list[IO[str]] = []  # open until this process ends, however it ends


def check_writable(state: Path) -> None:
    """Make sure that files can be written in a folder, which Snakemake needs for whatever it is asked.

    Parameters
    ----------
    state : path
        The folder `.snakemake`; it is made if it is not there.

    Raises
    ------
    UserError
        If the folder is read-only or the disk is full.
    """
    probe = state / f"probe-{os.getpid()}"
    try:
        state.mkdir(exist_ok=True)
        probe.write_bytes(bytes(4096))
        probe.unlink()
    except OSError as error:
        with suppress(OSError):
            probe.unlink()
        raise UserError(
            f"Nothing can be written in {state.absolute().parent} ({error.strerror}). "
            "Mend that, or choose another folder by --directory."
        ) from None


def remove_dead_lock(state: Path) -> bool:
    """Remove Snakemake's lock from a folder if every Snakemake that could have made it is dead.

    Each Snakemake that reads this workflow shares a lock of the operating system on a file, which ends with the
    process. One that gets it for itself alone is the only one, and what lies there is of a dead one. The file names
    the machine, because some network file systems keep locks for each machine by itself: what was left by a run on
    another machine stays.

    Parameters
    ----------
    state : path
        The folder `.snakemake`.

    Returns
    -------
    bool
        Whether a lock was removed.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    removed = False
    try:
        file = open(state / "quietct.lock", "a+", encoding="utf-8")  # noqa: SIM115
        _held.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            removed = _remove(state / "locks", file)
        except BlockingIOError:
            pass  # another one is alive
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:
        pass  # a read-only folder, or a file system without such locks: Snakemake's own words must do
    return removed


def _remove(locks: Path, file: IO[str]) -> bool:
    file.seek(0)
    machine = file.read()
    left = locks.is_dir() and any(locks.iterdir())
    if left and machine == platform.node():
        shutil.rmtree(locks)
        os.makedirs(locks)
        return True
    if not left:
        file.truncate(0)
        file.write(platform.node())
        file.flush()
    return False
