"""Outputs appear whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quietct.errors import UserError


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
        If the disk fills up while the block writes.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays the same, because writers such as np.save choose a format by it.
    partial = target.with_name(f".{target.stem}.part-{os.getpid()}{target.suffix}")
    _remove(partial)  # of a killed process that had the same number
    for rest in target.parent.glob(f".{glob.escape(target.stem)}.part-*{glob.escape(target.suffix)}"):
        number = rest.name.removeprefix(f".{target.stem}.part-").removesuffix(target.suffix)
        if number.isdecimal() and not _is_running(int(number)):
            _remove(rest)  # of a killed process with another number
    try:
        yield partial
        if target.is_dir() and partial.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: {target} could not be written. Free some space and start again."
            ) from error
        raise
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Whether a process with this number exists; where that can't be asked without harm, it counts as running."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
