"""What a script says while it runs, and how it ends when the user can mend the cause."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quietct.errors import UserError


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send log lines to `path` and to the screen, and end a `UserError` with its sentence alone.

    Parameters
    ----------
    path : path
        The rule's log file. An unexpected error leaves its traceback here.

    Raises
    ------
    SystemExit
        With status 1 after a `UserError`.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [logging.FileHandler(path, mode="w"), logging.StreamHandler(sys.stderr)]
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers, force=True
    )
    logging.captureWarnings(True)
    try:
        yield
    except UserError as error:
        logging.error("Error: %s", error)
        raise SystemExit(1) from None
    except Exception:
        logging.exception("Unexpected error")
        raise
