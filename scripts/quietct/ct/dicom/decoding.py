"""Decode compressed pixels, in a process of its own.

Decoders are written in C and C++. Damaged data make some of them crash, hang or ask for all the memory there is, and
that must not end the conversion without a word: the process is watched and bounded, and a new one takes its place.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from pydicom.pixels import get_decoder
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless

from quietct.ct.dicom.header import MIB, BoundedFile, quiet_pydicom

SECONDS = 120  # for one slice, on a slow machine
MEMORY_MIB, BYTES_PER_PIXEL = 256, 40  # beside what is there; some decoders hold a slice several times


class DecodingError(Exception):
    """Pixels that cannot be decoded; it has no text, as that of a decoder may quote what it found."""


def decode(path: str, start: int, syntax: str, frame: int, options: dict[str, Any]) -> np.ndarray:
    """Decode one frame of a file.

    Parameters
    ----------
    path : str
        The file.
    start : int
        Where the value of its Pixel Data begins (bytes).
    syntax : str
        UID of its transfer syntax, a compressed one.
    frame : int
        Which frame, from 0.
    options : dict
        What `pydicom.pixels.Decoder.as_array` has to know, `bits_stored` among them.

    Returns
    -------
    ndarray of integers (rows, columns)
        Stored values.
    """
    # pydicom has GDCM decode JPEG Extended of 8 bits only. GDCM itself sees which JPEG it is, and can do 12 bits too.
    known = JPEGLossless if syntax == JPEGExtended12Bit and options["bits_stored"] != 8 else UID(syntax)
    with open(path, "rb") as file, quiet_pydicom():
        bounded = BoundedFile(file, os.fstat(file.fileno()).st_size)
        bounded.seek(start)
        array, _ = get_decoder(known).as_array(bounded, index=frame, raw=True, **options)  # type: ignore[arg-type]
    return array


class DecodingProcess:
    """A process that decodes what it is told to. Used as a context manager, and started when it is first needed."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> DecodingProcess:
        """Give itself; nothing is started yet."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._stop()

    def decode(self, path: str, start: int, syntax: str, frame: int, options: dict[str, Any]) -> np.ndarray:
        """Do what the function `decode` does, in the process.

        Raises
        ------
        DecodingError
            If it fails, crashes, takes too long or needs far more memory than a slice of its size.
        """
        if self._connection is None:
            self._start()
        assert self._connection is not None
        try:
            self._connection.send((path, start, syntax, frame, options))
            answer = self._connection.recv() if self._connection.poll(SECONDS) else None
        except (EOFError, OSError):  # it is dead
            answer = None
        if answer is None:
            self._stop()
        if not isinstance(answer, np.ndarray):
            raise DecodingError
        return answer

    def _start(self) -> None:
        ours, theirs = Pipe()
        context: Any = get_context("fork" if sys.platform == "linux" else "spawn")
        self._process = context.Process(target=_serve, args=(theirs, ours), daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork beside any thread. Those here are idle ones of OpenBLAS.
            warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)
            self._process.start()
        theirs.close()  # so that the end of the child closes the pipe
        self._connection = ours

    def _stop(self) -> None:
        if self._connection is not None and self._process is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
        self._connection = self._process = None


def _serve(connection: Connection, others: Connection) -> None:
    """Answer with arrays, or with False, until the other end is closed."""
    others.close()  # else a copy of it would outlive the parent
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # decoders print what they think of the data
        os.dup2(nowhere, stream)
    with connection, suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            _bound_memory(task[-1]["rows"] * task[-1]["columns"])
            answer: np.ndarray | bool
            try:
                answer = decode(*task)
            except BaseException:  # each decoder raises its own kinds
                answer = False
            connection.send(answer)


def _bound_memory(pixels: int) -> None:
    """Let this process take what decoding a slice may need, and no more; Linux alone does."""
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    enough = mapped + MEMORY_MIB * MIB + BYTES_PER_PIXEL * pixels
    resource.setrlimit(resource.RLIMIT_AS, (enough if most == resource.RLIM_INFINITY else min(enough, most), most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
