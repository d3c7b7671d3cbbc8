"""A contender in a process of its own, with an environment of its own, that computes when it is asked to.

The driver starts `python contender.py torch 2` through `Contender` and sends requests, one at a time: only one
contender computes at any moment.
"""

from __future__ import annotations

import importlib
import os
import pickle
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

from workloads import Workload


class Contender:
    """The driver's end: a context manager that starts the process and stops it.

    Parameters
    ----------
    module : {'with_numpy', 'with_pytorch', 'with_scipy'}
    threads : int
    environment : mapping
        Set for this process beside the driver's own environment.
    """

    def __init__(self, module: str, threads: int, environment: Mapping[str, str]):
        self.module = module
        self.process = subprocess.Popen(
            [sys.executable, __file__, module, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )

    def __enter__(self) -> Contender:
        """Use as a context manager, so that no process is left behind."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the process's input, at which it ends."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, request: str, *arguments: Any) -> Any:
        """Call a method of `Server` in the process."""
        self.send(request, *arguments)
        return self.receive()

    def send(self, request: str, *arguments: Any) -> None:
        """Ask without waiting for the answer."""
        pickle.dump((request, arguments), self.process.stdin)
        self.process.stdin.flush()

    def answered(self, seconds: float) -> bool:
        """Wait for the answer to the last request at most so long, and tell whether it is there."""
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def receive(self) -> Any:
        """Wait for the answer to the last request."""
        try:
            return pickle.load(self.process.stdout)
        except EOFError:
            sys.exit(f"The process of {self.module} ended before its time; what it said stands above.")


class Server:
    """The process's end: its methods are the requests.

    Parameters
    ----------
    module : str
    threads : int
    """

    def __init__(self, module: str, threads: int):
        self.contender = importlib.import_module(module)
        self.threads = threads
        self.prepared: dict[tuple[Workload, str], Any] = {}

    def facts(self) -> dict[str, str]:
        """Tell what computes."""
        return self.contender.facts()

    def variants(self) -> tuple[str, ...]:
        """Tell the ways in which the contender computes, of which the fastest counts."""
        return self.contender.VARIANTS

    def prepare(self, workload: Workload, variant: str) -> None:
        """Bring a workload into memory, once."""
        self.get(workload, variant)

    def results(self, workload: Workload, variant: str) -> dict[str, list]:
        """Compute with the initial weights: arrays by phase."""
        return self.get(workload, variant).results()

    def result(self, workload: Workload, variant: str, phase: str) -> Any:
        """Compute one phase with the initial weights."""
        return getattr(self.get(workload, variant), phase)()

    def milliseconds(self, workload: Workload, variant: str, phase: str, seconds: float) -> float:
        """Repeat a phase for some seconds, at least three times; gives the median."""
        compute = getattr(self.get(workload, variant), phase)
        compute()  # what others have pushed out of the caches comes back
        times: list[float] = []
        while len(times) < 3 or sum(times) < seconds:
            start = time.perf_counter()
            compute()
            times.append(time.perf_counter() - start)
        return 1000 * statistics.median(times)

    def repeat(self, workload: Workload, variant: str, phase: str, times: int) -> None:
        """Do a phase several times."""
        for _ in range(times):
            getattr(self.get(workload, variant), phase)()

    def get(self, workload: Workload, variant: str) -> Any:
        """Give a workload that is in memory."""
        if (workload, variant) not in self.prepared:
            self.prepared[workload, variant] = self.contender.prepare(workload, variant, self.threads)
        return self.prepared[workload, variant]


def serve(server: Server, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while True:
        try:
            request, arguments = pickle.load(requests)
        except EOFError:
            return
        pickle.dump(getattr(server, request)(*arguments), answers)
        answers.flush()


if __name__ == "__main__":
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever is printed must not get between the answers
    serve(Server(sys.argv[1], int(sys.argv[2])), sys.stdin.buffer, answers)
