"""Outputs appear whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quietct.errors import UserError
from quietct.orphans import is_running

NO_SPACE_BYTES = 1 << 16  # left by a write that the full disk cut short


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it into place when the block ends well.

    On any error the temporary file or folder is removed and `path` stays as it was.

    Parameters
    ----------
    path : path of a file or a folder
        What shall appear. Missing parent folders are made.

    Yields
    ------
    Path
        Where the block writes. It does not exist yet; make a file or a folder there.

    Raises
    ------
    UserError
        If the disk fills up while the block writes, or the folder is read-only.
    """
    target = Path(path)
    # Numbers of processes count on one machine, and a folder may be shared by several.
    begin = f".{target.stem}.part-{platform.node()}-"
    # The suffix stays the same, because writers such as np.save choose a format by it.
    partial = target.with_name(f"{begin}{os.getpid()}{target.suffix}")
    with _refusals_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)  # of a killed process that had the same number
        for rest in target.parent.glob(f"{glob.escape(begin)}*{glob.escape(target.suffix)}"):
            number = rest.name.removeprefix(begin).removesuffix(target.suffix)
            if number.isdecimal() and not is_running(int(number)):
                _remove(rest)  # of a killed process with another number
    try:
        with _refusals_named(target):
            yield partial
            _put_in_place(partial, target)
    finally:
        _remove(partial)


def _put_in_place(partial: Path, target: Path) -> None:
    for _ in range(10):
        if target.is_dir() and partial.exists():
            shutil.rmtree(target, ignore_errors=True)
        try:
            os.replace(partial, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # Another process has just put its own folder there: the last one counts, as with files.
    os.replace(partial, target)


@contextmanager
def _refusals_named(target: Path) -> Iterator[None]:
    """Turn a full disk and a read-only folder into a sentence that names what could not be written."""
    try:
        yield
    except OSError as error:
        number = getattr(system_error(error), "errno", None)
        # NumPy tells of a short write, and not why.
        unexplained = number is None and shutil.disk_usage(target.parent).free < NO_SPACE_BYTES
        if number in (errno.ENOSPC, errno.EDQUOT) or unexplained:
            raise UserError(
                f"The disk is full: {target} could not be written. Free some space and start again."
            ) from error
        if number == errno.EROFS:
            raise UserError(
                f"{target} could not be written, for its folder is read-only. Make it writable and start again."
            ) from error
        raise


def system_error(error: BaseException) -> BaseException:
    """Find the error of the system behind one that was raised in its place, as pydicom does; else give it back."""
    cause = error
    while not getattr(cause, "errno", None) and cause.__cause__ is not None:
        cause = cause.__cause__
    return cause if getattr(cause, "errno", None) else error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
