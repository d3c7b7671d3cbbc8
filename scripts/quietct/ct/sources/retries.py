"""Try again what failed in a way that may pass, and not for ever."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from quietct.errors import UserError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Policy:
    """How patient a download is.

    Attributes
    ----------
    retries : int
        Further attempts after the first, per file; an attempt that brought new bytes does not count.
    timeout_s : float
        How long (s) to wait for a connection, and for a server that has fallen silent.
    bandwidth_mbit : float or None
        What a transfer may use (Mbit/s); None is all there is.
    first_wait_s, longest_wait_s : float
        The wait (s) before the second attempt, which doubles from attempt to attempt, and its bound, which also
        bounds what a server asks for by Retry-After.
    """

    retries: int = 5
    timeout_s: float = 60
    bandwidth_mbit: float | None = None
    first_wait_s: float = 1
    longest_wait_s: float = 120


class PassingError(Exception):
    """An attempt failed in a way that may pass.

    Parameters
    ----------
    reason : str
        What happened, to go behind "because".
    wait_s : float, optional
        How long (s) the server asks to wait.
    hint : str, optional
        A sentence on what to do if it doesn't pass.
    at_most : int, optional
        After how many such failures to give up, whatever the policy says.
    progress : bool
        Whether the attempt brought new bytes, so that it doesn't count.
    """

    def __init__(
        self,
        reason: str,
        wait_s: float | None = None,
        hint: str = "",
        at_most: int | None = None,
        progress: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.wait_s, self.hint, self.at_most, self.progress = reason, wait_s, hint, at_most, progress


class StoppedError(Exception):
    """Somebody else asked this transfer to end."""


def try_again(attempt: Callable[[], Result], name: str, policy: Policy, stop: threading.Event) -> Result:
    """Call `attempt` until it succeeds or has failed too often, with growing waits in between.

    Parameters
    ----------
    attempt : callable
        Raises `PassingError` for what may pass; any other error ends the matter.
    name : str
        What is fetched, for messages.
    policy : Policy
        How often and how long.
    stop : threading.Event
        Ends a wait at once when set.

    Raises
    ------
    UserError
        If the attempts are used up: one sentence with the last reason.
    StoppedError
        If `stop` is set.
    """
    counted = barren = 0
    while True:
        if stop.is_set():
            raise StoppedError
        try:
            return attempt()
        except PassingError as failure:
            counted, barren = (counted, 0) if failure.progress else (counted + 1, barren + 1)
            most = policy.retries + 1 if failure.at_most is None else min(failure.at_most, policy.retries + 1)
            if counted >= most:
                times = f" ({counted} attempts)" if counted > 1 else ""
                raise UserError(
                    f"{name} could not be fetched, because {failure.reason}{times}. {failure.hint}".rstrip()
                ) from failure
            wait_s = _wait(failure.wait_s, barren, policy)
            logger.info("%s: %s; trying again in %.0f s", name, failure.reason, wait_s)
        pause(wait_s, stop)


def pause(seconds: float, stop: threading.Event) -> None:
    """Wait, but no longer than until `stop` is set, which raises `StoppedError`."""
    if stop.wait(seconds):
        raise StoppedError


def _wait(asked_s: float | None, failures: int, policy: Policy) -> float:
    """Take what the server asks for, else a wait that doubles; its random part keeps clients from coming at once."""
    if asked_s is not None:
        return min(max(asked_s, 0.0), policy.longest_wait_s)
    doubled = policy.first_wait_s * 2.0 ** min(max(failures - 1, 0), 30)
    return min(doubled, policy.longest_wait_s) * random.uniform(0.5, 1)


def retry_after_s(value: str | None) -> float | None:
    """Read a Retry-After header: seconds or a date (RFC 9110, 10.2.3); None if there is none or it makes no sense."""
    text = (value or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return (when - datetime.now(UTC)).total_seconds()
