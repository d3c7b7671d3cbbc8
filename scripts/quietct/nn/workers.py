"""Workers that share out one task: forked processes, or threads where processes cannot be forked."""

from __future__ import annotations

import math
import mmap
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from quietct.errors import UserError


class WorkerLostError(UserError):
    """A worker process could not be started, or ended before its work was done."""


def shared_array(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Make an array of zeros in memory that processes forked later share with this one.

    The memory has no name, so that nothing is left behind however the processes end.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy dtype

    Returns
    -------
    ndarray
    """
    count = math.prod(shape)
    memory = mmap.mmap(-1, max(1, count * np.dtype(dtype).itemsize))
    return np.frombuffer(memory, dtype, count).reshape(shape)


class Workers:
    """Several workers for one task; the caller is one of them. A context manager, which leaves no worker behind.

    Each worker keeps BLAS to one thread, and so does the caller until the end of the context.

    Parameters
    ----------
    task : callable
        `task(worker, message)` does the share of one worker, numbered from 0. It returns nothing: results go into
        arrays made by `shared_array` before the context begins.
    count : int
        Number of workers; with 1 nothing is started.
    kind : {'', 'processes', 'threads'}
        '' chooses processes on Linux and threads elsewhere, where a fork is not safe or not known.

    Raises
    ------
    WorkerLostError
        From `run`, if a worker process has been killed or has ended.
    """

    def __init__(self, task: Callable[[int, Any], None], count: int, kind: str = ""):
        self.task, self.count = task, count
        self.kind = kind or ("processes" if sys.platform == "linux" else "threads")
        self._others: list[Any] = []  # processes or threads, of the workers 1, 2, ...
        self._connections: list[Connection] = []  # to them, in the same order
        self._at_work = False
        self._cleanup = ExitStack()

    def __enter__(self) -> Workers:
        """Start the workers."""
        with ExitStack() as stack:
            stack.enter_context(threadpool_limits(1, "blas"))
            stack.callback(self._stop)
            for worker in range(1, self.count):
                self._start(worker)
            self._at_work = True
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the workers and give BLAS its threads back."""
        self._cleanup.close()

    def run(self, message: Any) -> None:
        """Let every worker do its share; return when all have done it.

        Parameters
        ----------
        message : object that can be pickled
            Passed to `task`.

        Raises
        ------
        WorkerLostError
            If a worker process has been killed or has ended.
        Exception
            What `task` raised in any worker. After an error all workers are stopped.
        """
        if not self._at_work:
            raise RuntimeError("The workers have not been started, or an error has stopped them.")
        try:
            self._send(message)
            self.task(0, message)
            self._collect()
        except BaseException:
            self._stop()  # what they still do or answer belongs to nothing any more
            raise

    def _send(self, message: Any) -> None:
        pickled = pickle.dumps(message) if self._connections else b""  # once for all
        for worker, connection in enumerate(self._connections, start=1):
            try:
                connection.send_bytes(pickled)
            except OSError:
                raise self._lost(worker) from None

    def _collect(self) -> None:
        for worker, connection in enumerate(self._connections, start=1):
            try:
                error = connection.recv()
            except (EOFError, OSError):
                raise self._lost(worker) from None
            if error is not None:
                raise error

    def _lost(self, worker: int) -> WorkerLostError:
        """Say how a process ended whose end of the pipe is closed."""
        process = self._others[worker - 1]
        process.join()
        code = process.exitcode
        if code and code < 0:
            end = f"was killed by signal {-code} ({signal.strsignal(-code)})"
        else:
            end = f"ended with status {code}"
        return WorkerLostError(
            f"Worker process {worker + 1} of {self.count} {end}, most often because memory ran out: "
            "set fewer `threads`, for training also a smaller `batch_size`, or give the job more memory."
        )

    def _start(self, worker: int) -> None:
        ours, theirs = Pipe()
        self._connections.append(ours)
        if self.kind == "threads":
            thread = Thread(target=self._run_thread, args=(worker, theirs), daemon=True)
            thread.start()
            self._others.append(thread)
            return
        process = get_context("fork").Process(target=self._run_process, args=(worker, theirs), daemon=True)
        # A signal that comes before the child has set its handlers would run those of the parent.
        signals = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of a fork beside any thread. Those here are idle ones of OpenBLAS, which puts them
                # away around a fork itself, and at most tqdm's, whose locks no worker takes.
                warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)
                process.start()
        except OSError as error:
            raise WorkerLostError(
                f"Worker process {worker + 1} of {self.count} could not be started ({error.strerror}): "
                "set fewer `threads`, or give the job more memory."
            ) from error
        else:
            self._others.append(process)
        finally:
            theirs.close()  # so that the end of the child closes the pipe
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)

    def _run_thread(self, worker: int, connection: Connection) -> None:
        """Serve as a thread. Some BLAS keep a limit for each thread; a process inherits that of the caller."""
        with threadpool_limits(1, "blas"):
            self._serve(worker, connection)

    def _run_process(self, worker: int, connection: Connection) -> None:
        """Do in the child, from its first moment on, what only a worker does."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the end of the parent ends the children
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        # Inherited copies of the parent's ends would keep the pipes of all workers open after its death.
        for inherited in self._connections:
            inherited.close()
        self._serve(worker, connection)

    def _serve(self, worker: int, connection: Connection) -> None:
        """Do task after task until the caller has closed its end or is dead."""
        with connection, suppress(EOFError, OSError):
            while True:
                message = connection.recv()
                connection.send(self._attempt(worker, message))

    def _attempt(self, worker: int, message: Any) -> BaseException | None:
        """Do one share; return the error if there is one, in a form that can be sent."""
        try:
            self.task(worker, message)
        except BaseException as error:
            # A traceback does not travel; its text does.
            origin = f"In worker {worker + 1} of {self.count}:\n" + "".join(traceback.format_exception(error))
            sent = _as_sent(error)
            sent.add_note(origin)
            return sent
        return None

    def _stop(self) -> None:
        self._at_work = False
        for connection in self._connections:
            connection.close()
        if self.kind == "processes":
            for process in self._others:
                process.kill()  # it holds nothing that would have to be saved
        for other in self._others:
            other.join()
        self._connections, self._others = [], []


def _as_sent(error: BaseException) -> BaseException:
    """Copy an error as another process would receive it; where that fails, name it in a RuntimeError."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(repr(error))
