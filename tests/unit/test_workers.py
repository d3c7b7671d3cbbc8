"""Workers do their shares, say how they fail, and leave nothing behind."""

import errno
import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from quietct.errors import UserError
from quietct.nn.workers import WorkerLostError, Workers, shared_array


@pytest.fixture(autouse=True)
def ctrl_c_is_heeded():
    """A process that a shell starts in the background ignores SIGINT, and so would those that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


processes_only = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
KINDS = [pytest.param("processes", marks=processes_only), "threads"]
LOST = r"Worker process 2 of 3 was killed by signal 9 \(Killed\), .* memory ran out: .*`threads`, .*`batch_size`, .*"


@pytest.fixture(autouse=True)
def nothing_left():
    """No test may leave a process, a thread or a pipe behind."""
    gc.collect()
    threads, files = threading.active_count(), open_files()
    yield
    gc.collect()
    assert not multiprocessing.active_children()
    assert (threading.active_count(), open_files()) == (threads, files)


def open_files():
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def is_running(pid):
    """Tell whether a process runs; one that has ended and still waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pids, seconds=5):
    end = time.monotonic() + seconds
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(map(is_running, pids))


def kill_self(worker, message):
    if worker == message:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_shared_array_is_zero_and_writable():
    array = shared_array((3, 4), np.float32)
    assert (array.shape, array.dtype) == ((3, 4), np.float32)
    assert not array.any()
    array += 1
    assert shared_array((0, 4), np.int8).shape == (0, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_worker_does_its_share_of_every_message(count, kind):
    sums = shared_array((count,), np.int64)

    def task(worker, message):
        sums[worker] += (worker + 1) * message["number"]

    with Workers(task, count, kind) as workers:
        for number in (1, 10, 100):
            workers.run({"number": number})
    assert sums.tolist() == [111 * (k + 1) for k in range(count)]


@processes_only
def test_workers_are_processes_on_linux_and_the_caller_is_the_first():
    pids = shared_array((3,), np.int64)

    def task(worker, message):
        pids[worker] = os.getpid()

    with Workers(task, 3) as workers:
        workers.run(None)
    assert pids[0] == os.getpid()
    assert len(set(pids)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_workers_work_at_the_same_time(kind):
    """A worker that waits for the others would wait forever if they took turns."""
    here = shared_array((3,), bool)

    def task(worker, message):
        here[worker] = True
        end = time.monotonic() + 10
        while not here.all() and time.monotonic() < end:
            time.sleep(0.001)
        assert here.all()

    with Workers(task, 3, kind) as workers:
        workers.run(None)


@pytest.mark.parametrize("kind", KINDS)
def test_blas_has_one_thread_in_every_worker_and_its_own_number_afterwards(kind):
    largest = shared_array((3,), np.int64)

    def task(worker, message):
        largest[worker] = max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")

    with threadpool_limits(2, "blas"):
        with Workers(task, 3, kind) as workers:
            workers.run(None)
        assert largest.tolist() == [1, 1, 1]
        task(0, None)
        assert largest[0] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_matrix_products_in_workers_are_right_after_some_in_the_caller(kind):
    """BLAS must survive the fork although it has started threads before."""
    a = np.random.default_rng(0).standard_normal((300, 300))
    expected, products = a @ a, shared_array((3, 300, 300), np.float64)

    def task(worker, message):
        np.matmul(a, a, out=products[worker])

    with Workers(task, 3, kind) as workers:
        workers.run(None)
    for product in products:
        np.testing.assert_allclose(product, expected, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(a @ a, expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_in_any_worker_reaches_the_caller_and_stops_the_others(failing, kind):
    def task(worker, message):
        if worker == failing:
            raise KeyError(f"in {message}")

    with Workers(task, 3, kind) as workers:
        with pytest.raises(KeyError, match="in share") as caught:
            workers.run("share")
        assert not multiprocessing.active_children()
        with pytest.raises(RuntimeError, match="an error has stopped them"):
            workers.run("share")
    if failing:
        assert f"In worker {failing + 1} of 3:" in caught.value.__notes__[0]
        assert "raise KeyError" in caught.value.__notes__[0]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_that_cannot_be_sent_is_named(kind):
    class LocalError(Exception):  # a class inside a function has no name that another process could find
        pass

    def task(worker, message):
        if worker:
            raise LocalError("is local")

    with Workers(task, 2, kind) as workers, pytest.raises(RuntimeError, match=r"LocalError\('is local'\)"):
        workers.run(None)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_user_stays_one_sentence(kind):
    def task(worker, message):
        if worker:
            raise UserError("The patches are gone.")

    with Workers(task, 2, kind) as workers, pytest.raises(UserError) as caught:
        workers.run(None)
    assert str(caught.value) == "The patches are gone."


@processes_only
def test_a_worker_killed_at_work_is_reported_and_the_others_are_stopped():
    with Workers(kill_self, 3) as workers:
        pids = [process.pid for process in multiprocessing.active_children()]
        workers.run(0.5)
        with pytest.raises(WorkerLostError, match=LOST):
            workers.run(1)
        assert wait_until_gone(pids, 0)


@processes_only
def test_a_worker_killed_while_idle_is_reported():
    with Workers(kill_self, 3) as workers:
        workers.run(None)
        victim = min(multiprocessing.active_children(), key=lambda process: process.pid)
        os.kill(victim.pid, signal.SIGKILL)
        time.sleep(0.05)
        with pytest.raises(WorkerLostError, match=LOST):
            workers.run(None)


@processes_only
def test_a_worker_killed_while_the_caller_waits_for_it_is_reported_at_once():
    def task(worker, message):
        if worker:
            time.sleep(60)

    with Workers(task, 3) as workers:
        victim = min(multiprocessing.active_children(), key=lambda process: process.pid)
        threading.Timer(0.2, os.kill, [victim.pid, signal.SIGKILL]).start()
        start = time.monotonic()
        with pytest.raises(WorkerLostError, match=LOST):
            workers.run(None)
        assert time.monotonic() - start < 5


@processes_only
def test_a_worker_that_ends_by_itself_is_reported_with_its_status():
    def task(worker, message):
        if worker:
            os._exit(3)

    with Workers(task, 2) as workers, pytest.raises(WorkerLostError, match=r"process 2 of 2 ended with status 3"):
        workers.run(None)


@processes_only
def test_a_process_that_cannot_be_started_is_reported_and_the_others_are_stopped(monkeypatch):
    start, started = ForkProcess.start, []

    def start_one(process):
        if started:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(process)
        start(process)

    monkeypatch.setattr(ForkProcess, "start", start_one)
    with pytest.raises(
        WorkerLostError, match=r"process 3 of 3 could not be started \(Resource .*\): set fewer `threads`"
    ):
        Workers(kill_self, 3).__enter__()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_leaving_by_an_error_or_ctrl_c_leaves_no_worker(error, kind):
    def leave():
        with Workers(kill_self, 3, kind) as workers:
            workers.run(None)
            raise error

    with pytest.raises(error):
        leave()
    assert not multiprocessing.active_children()


@processes_only
def test_workers_leave_ctrl_c_to_their_parent():
    with Workers(kill_self, 3) as workers:
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGINT)
        time.sleep(0.1)
        workers.run(None)


@processes_only
def test_ctrl_c_while_workers_are_busy_stops_all():
    def task(worker, message):
        if worker:
            time.sleep(60)

    with Workers(task, 3) as workers:
        pids = [os.getpid(), *(process.pid for process in multiprocessing.active_children())]
        threading.Timer(0.2, lambda: [os.kill(pid, signal.SIGINT) for pid in reversed(pids)]).start()
        with pytest.raises(KeyboardInterrupt):
            workers.run(None)
        assert wait_until_gone(pids[1:], 0)


PARENT = """
import json, multiprocessing, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from quietct.nn.workers import Workers
def task(worker, message):
    if message == "busy" and worker == 1:
        time.sleep(1)
with Workers(task, 4) as workers:
    workers.run(None)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    workers.run(sys.argv[2])
    time.sleep(60)
"""


@processes_only
@pytest.mark.parametrize("state", ["idle", "busy"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_leave_silently_when_their_parent_is_killed(how, state):
    command = [sys.executable, "-c", PARENT, json.dumps(sys.path), state]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        assert all(map(is_running, pids))
        time.sleep(0.1)
        if how == signal.SIGINT:
            os.killpg(parent.pid, how)  # Ctrl-C in a terminal reaches the whole group
        else:
            parent.send_signal(how)
        assert parent.wait(10) == -how
        assert wait_until_gone(pids)
        errors = parent.stderr.read()
    if how == signal.SIGINT:
        assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1
    else:
        assert errors == ""


@processes_only
def test_a_fork_beside_idle_threads_is_no_cause_for_warnings(recwarn):
    with threadpool_limits(2, "blas"):
        a = np.ones((500, 500))
        a @ a  # starts the threads of BLAS
        with Workers(kill_self, 2) as workers:
            workers.run(None)
    assert not recwarn.list
