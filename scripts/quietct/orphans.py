"""No process goes on when the one that started it has been killed: nobody would wait for what it does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

# Set by the Snakefile for the scripts that it starts.
STARTED_BY = "QUIETCT_STARTED_BY"

_PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with(parent: int) -> None:
    """End this process at once when its parent ends, however that ends; Linux alone does.

    A script that outlives a killed Snakemake would write its results over those of the next run, perhaps with
    settings that were changed in between.

    Parameters
    ----------
    parent : int
        Number of the process that has started this one. If it has ended already, so does this one.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # a C library without prctl
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if not is_running(parent):
        os.kill(os.getpid(), signal.SIGKILL)


def end_with_starter() -> None:
    """End a script with the Snakemake that has started it; one that was started by hand goes on."""
    if (number := os.environ.get(STARTED_BY, "")).isdecimal():
        end_with(int(number))


def is_running(process: int) -> bool:
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
