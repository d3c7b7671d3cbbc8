"""How far a download is: a bar on a terminal, now and then a line in a file."""

from __future__ import annotations

import logging
import sys
import threading
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)


class Progress:
    """Count bytes and show them; threads may share it.

    Parameters
    ----------
    name : str
        What is fetched.
    total : int or None
        Its size (bytes), None if that is not known.
    done : int
        What of it (bytes) is there already.
    every_s : float
        The shortest time (s) between two lines where no terminal is.
    """

    def __init__(self, name: str, total: int | None, done: int = 0, every_s: float = 10) -> None:
        self.name, self.total, self.found, self.done, self.every_s = name, total, done, done, every_s
        self._lock = threading.Lock()
        self._began = self._said = time.monotonic()
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, desc=name, unit="B", unit_scale=True) if terminal else None

    def close(self) -> None:
        """Leave the terminal's line."""
        if self._bar is not None:
            self._bar.close()

    def __call__(self, count: int) -> None:
        """Count further bytes; fewer than none if some came to nothing."""
        with self._lock:
            self.done += count
            if self._bar is not None:
                self._bar.update(count)
                return
            now = time.monotonic()
            if now - self._said >= self.every_s:
                self._said = now
                logger.info("%s: %s", self.name, self._state(now - self._began))

    def _state(self, elapsed_s: float) -> str:
        if self.total is None:
            return f"{self.done / 1e6:.1f} MB"
        state = f"{self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB"
        came = self.done - self.found
        if came > 0:
            state += f", {_duration((self.total - self.done) / came * elapsed_s)} left"
        return state


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
