"""What a script says while it runs, and how it ends when the user can mend the cause."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from quietct.errors import UserError
from quietct.orphans import end_with_starter

logger = logging.getLogger(__name__)

FILE_ONLY = {"file_only": True}  # Snakemake itself says on the screen which jobs start and end


@contextmanager
def logged(job: Any) -> Iterator[None]:
    """Send log lines to the job's log file and to the screen, and end a `UserError` with its sentence alone.

    The file says what begins, and at the end how long it took and how much memory. A script whose Snakemake has been
    killed ends too.

    Parameters
    ----------
    job : object
        Snakemake's description of the job, with `log`, `rule`, `wildcards` and `threads`. An unexpected error leaves
        its traceback in the log.

    Raises
    ------
    SystemExit
        With status 1 after a `UserError`.
    """
    end_with_starter()
    try:
        _start_logging(Path(job.log[0]))
    except OSError as error:
        sys.exit(f"Error: The log {job.log[0]} cannot be written ({error.strerror}). Mend that and start again.")
    what = ", ".join(f"{name} {value}" for name, value in job.wildcards.items())
    logger.info("%s begins%s; threads: %d", job.rule, f": {what}" if what else "", job.threads, extra=FILE_ONLY)
    start = time.monotonic()
    try:
        yield
    except KeyboardInterrupt:
        logger.info("Interrupted after %s", _cost(start), extra=FILE_ONLY)
        raise
    except UserError as error:
        logger.info("Failed after %s", _cost(start), extra=FILE_ONLY)
        logger.error("Error: %s", error)
        raise SystemExit(1) from None
    except Exception:
        logger.info("Failed after %s", _cost(start), extra=FILE_ONLY)
        logger.exception("Unexpected error")
        raise
    logger.info("Done in %s", _cost(start), extra=FILE_ONLY)


class _LogFile(logging.FileHandler):
    """A log whose own failure, as when the disk is full, does not bury the screen; the job says what it can't write."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  its name in logging
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _start_logging(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file, screen = _LogFile(path, mode="w", encoding="utf-8"), logging.StreamHandler(sys.stderr)
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))  # a training may last days
    screen.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    screen.addFilter(lambda record: not getattr(record, "file_only", False))
    logging.basicConfig(level=logging.INFO, handlers=[file, screen], force=True)
    logging.captureWarnings(True)


def _cost(start: float) -> str:
    """Give time and peak memory in words."""
    own, workers = peak_memory_mb()
    of_workers = f", of a process that it started {workers:.0f} MB" if workers else ""
    return f"{time.monotonic() - start:.1f} s; peak memory {own:.0f} MB{of_workers}"


def peak_memory_mb() -> tuple[float, float]:
    """Give the most memory that this process has had at a time, and the largest process that it started and ended."""
    try:
        import resource
    except ImportError:  # Windows
        return math.nan, 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    own, workers = (
        resource.getrusage(who).ru_maxrss * unit / 1e6 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    with suppress(OSError):
        # On Linux the figure of a new process begins with that of the one that started it, Snakemake; this does not.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                own = int(line.split()[1]) * 1024 / 1e6
    return own, workers
