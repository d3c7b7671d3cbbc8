"""Fetch one file, or one small answer, over HTTP(S) from a server and through a network that may fail in any way."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import requests

from quietct.ct.sources.answers import BROKEN, RefusedError, answer, new_session, reason, shown
from quietct.ct.sources.retries import PassingError, Policy, StoppedError, pause, try_again
from quietct.errors import UserError

__all__ = ["Policy", "RefusedError", "StoppedError", "fetch_file", "get_text", "is_fetched", "new_session"]

CHUNK = 1 << 16
LONGEST_TEXT = 4 << 20  # a listing of 1000 objects takes 0.4 MB
WRONG_AT_MOST = 3  # a server that sends a wrong file again and again won't mend
PAGE = "Open the address in a browser: this network may ask to log in first."


def get_text(
    session: requests.Session, url: str, policy: Policy, *, params: Mapping[str, str | int] | None = None
) -> str:
    """Get a small answer, such as a listing.

    Parameters
    ----------
    session : requests.Session
        From `new_session`.
    url : str
        What to get.
    policy : Policy
        How often and how long to try.
    params : mapping, optional
        The query of the URL.

    Returns
    -------
    str
        The body, decoded as UTF-8.

    Raises
    ------
    RefusedError
        If the server answers that it won't (404, 403, ...).
    UserError
        If it cannot be reached, fails again and again, or answers more than 4 MB.
    """
    name = shown(url)

    def attempt() -> str:
        body = bytearray()
        with answer(session, url, policy, params) as response:
            try:
                for chunk in response.iter_content(CHUNK):
                    body += chunk
                    if len(body) > LONGEST_TEXT:
                        raise UserError(f"{name} answers more than {LONGEST_TEXT >> 20} MB, which can be no listing.")
            except BROKEN as error:
                raise PassingError(reason(error)) from error
        return body.decode("utf-8", errors="replace")

    return try_again(attempt, name, policy, threading.Event())


def fetch_file(
    session: requests.Session,
    url: str,
    path: Path,
    policy: Policy,
    *,
    params: Mapping[str, str | int] | None = None,
    size: int | None = None,
    md5: str | None = None,
    progress: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Fetch a file, unless it is there already; it appears under its name when it is whole and right.

    Until then it is called `path` + ".part". A transfer that broke off goes on where it ended if the server can do
    that; one that was killed only if `md5` is given, which then proves that both parts are of one file.

    Parameters
    ----------
    session : requests.Session
        From `new_session`.
    url : str
        What to fetch.
    path : Path
        Where to put it; its folder must exist.
    policy : Policy
        How often and how long to try.
    params : mapping, optional
        The query of the URL.
    size : int, optional
        Its size (bytes).
    md5 : str, optional
        Its MD5 hash (hexadecimal).
    progress : callable, optional
        Called with the number of bytes that came in; negative when some had to be thrown away.
    stop : threading.Event, optional
        Ends the transfer soon after it is set.

    Raises
    ------
    RefusedError
        If the server answers that it won't (404, 403, ...).
    UserError
        If the server cannot be reached, fails or sends a wrong file again and again, or the disk is full.
    StoppedError
        If `stop` is set.
    """
    if is_fetched(path, size, md5):
        return
    stop = stop or threading.Event()
    transfer = _Transfer(session, url, path, policy, params, size, md5, progress, stop)
    try:
        try_again(transfer.attempt, shown(url), policy, stop)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: {path} could not be written. Free some space and start again; "
                "what has been fetched so far is kept."
            ) from error
        raise


def is_fetched(path: Path, size: int | None = None, md5: str | None = None) -> bool:
    """Whether a file is there and, as far as that is known, has its size (bytes) and MD5 hash."""
    return path.is_file() and _fault(path, size, md5) is None


@dataclass
class _Transfer:
    """One file on its way, and what its attempts have to know of earlier ones."""

    session: requests.Session
    url: str
    path: Path
    policy: Policy
    params: Mapping[str, str | int] | None
    size: int | None
    md5: str | None
    progress: Callable[[int], None] | None
    stop: threading.Event
    version: str | None = None  # the ETag of the file that .part is the beginning of
    shown: int = 0  # bytes told to `progress`
    furthest: int = 0  # bytes of .part when it was longest

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    def attempt(self) -> None:
        """Bring the rest of the file, check it and give it its name."""
        start = self._usable()
        self._show(start)
        if not start or start != self.size:  # else it was killed just before it got its name
            self._receive(start)
        fault = _fault(self.part, self.size, self.md5)
        if fault:
            self._drop()
            raise PassingError(fault, at_most=WRONG_AT_MOST)
        os.replace(self.part, self.path)

    def _usable(self) -> int:
        """Count the bytes of .part that the server can be asked to continue."""
        length = self.part.stat().st_size if self.part.is_file() else 0
        known = self.version is not None or self.md5 is not None
        fits = self.size is None or length <= self.size
        return length if known and fits else 0

    def _receive(self, start: int) -> None:
        headers = {}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self.version:
                headers["If-Range"] = self.version
        began = time.monotonic()
        with answer(self.session, self.url, self.policy, self.params, headers) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._drop()
                raise PassingError("the server's file is shorter than before", at_most=WRONG_AT_MOST)
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                start = 0  # the whole file, as it isn't the one of before or the server knows no ranges
                self._show(0)
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                self._drop()
                raise PassingError("the server sent another part of the file than was asked for", at_most=WRONG_AT_MOST)
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise PassingError("the server sent a web page instead of the file", hint=PAGE, at_most=WRONG_AT_MOST)
            length = response.headers.get("Content-Length", "")
            whole = start + int(length) if length.isdecimal() else self.size
            if self.size is not None and whole is not None and whole != self.size:
                raise PassingError(_wrong_size(whole, self.size), at_most=WRONG_AT_MOST)
            etag = response.headers.get("ETag", "")
            self.version = etag if etag.startswith('"') else None  # weak ones do not tell bytes apart
            self._write(response, start, whole, began)

    def _write(self, response: requests.Response, start: int, whole: int | None, began: float) -> None:
        here = start
        self.furthest = max(self.furthest, start)
        try:
            with self.part.open("ab" if start else "wb") as file:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    here += len(chunk)
                    self._show(here)
                    if self.size is not None and here > self.size:
                        break  # the check of the size will say so; there may be no end to it
                    self._throttle(here - start, began)
        except BROKEN as error:
            raise self._broken(reason(error), here) from error
        if whole is not None and here < whole:
            raise self._broken("the connection was closed too early", here)

    def _broken(self, reason: str, here: int) -> PassingError:
        """Tell that the body ended early; new bytes are progress, bytes that came a second time are none."""
        progress, self.furthest = here > self.furthest, max(here, self.furthest)
        return PassingError(reason, progress=progress)

    def _throttle(self, received: int, began: float) -> None:
        if self.policy.bandwidth_mbit:
            due = received * 8 / (self.policy.bandwidth_mbit * 1e6)
            pause(max(0.0, due - (time.monotonic() - began)), self.stop)
        elif self.stop.is_set():
            raise StoppedError

    def _show(self, bytes_here: int) -> None:
        if self.progress and bytes_here != self.shown:
            self.progress(bytes_here - self.shown)
        self.shown = bytes_here

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.version = None
        self._show(0)


def _fault(path: Path, size: int | None, md5: str | None) -> str | None:
    """Say what is wrong with a file, if anything is."""
    length = path.stat().st_size
    if size is not None and length != size:
        return _wrong_size(length, size)
    if md5 is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != md5.lower():
            return "its MD5 hash is not the right one"
    return None


def _wrong_size(is_: int, should_be: int) -> str:
    return f"it has {is_} bytes instead of {should_be}"
