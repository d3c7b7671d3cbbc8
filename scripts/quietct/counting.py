"""How far a long work is."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

logger = logging.getLogger(__name__)

EVERY_S = 10  # between two lines where no terminal is


@contextmanager
def counted() -> Iterator[Callable[[int, int], None]]:
    """Show how far the work is: a bar on a terminal, now and then a line elsewhere, nothing where nobody listens.

    Yields
    ------
    callable
        Takes how many slices are done, and how many there are.
    """
    if not (sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)):
        yield _Lines()
        return
    with tqdm(desc="Denoising", unit="slice") as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


class _Lines:
    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._said >= EVERY_S and done < total:
            self._said = time.monotonic()
            logger.info("Denoised %d of %d slices.", done, total)
