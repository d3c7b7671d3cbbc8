"""Logs: each says what begins, what the stage found, and how it ended at what cost."""

import logging
import re
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from quietct.errors import UserError
from quietct.logs import logged, peak_memory_mb
from quietct.nn.workers import Workers

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


@pytest.fixture
def job(tmp_path):
    yield SimpleNamespace(
        log=[str(tmp_path / "logs/add_noise/a.log")],
        rule="add_noise",
        wildcards={"noise": "n", "series": "a"},
        threads=2,
    )
    logging.captureWarnings(False)
    logging.getLogger().handlers.clear()


def lines(job):
    with open(job.log[0], encoding="utf-8") as file:
        return file.read().splitlines()


def test_a_log_has_start_key_figures_and_end_with_dates(job, capsys):
    with logged(job):
        logging.getLogger("quietct.some").info("7 slices, 50 %")
        warnings.warn("of a library", stacklevel=1)
    first, second, *_, last = lines(job)
    assert re.fullmatch(TIME + "add_noise begins: noise n, series a; threads: 2", first)
    assert re.fullmatch(TIME + "7 slices, 50 %", second)
    assert re.fullmatch(TIME + r"Done in \d+\.\d s; peak memory \d+ MB(, .*)?", last)
    assert "of a library" in "".join(lines(job))
    screen = capsys.readouterr().err
    assert "7 slices" in screen
    assert "begins" not in screen
    assert "Done" not in screen


def test_a_users_mistake_is_the_last_line_without_a_traceback(job, capsys):
    with pytest.raises(SystemExit) as end, logged(job):
        raise UserError("There is nothing. Name something.")
    assert end.value.code == 1
    assert "Failed after " in lines(job)[-2]
    assert lines(job)[-1].endswith(" Error: There is nothing. Name something.")
    assert "Traceback" not in "".join(lines(job)) + capsys.readouterr().err


def test_a_fault_of_the_program_leaves_its_traceback(job):
    with pytest.raises(ZeroDivisionError), logged(job):
        1 / 0  # noqa: B018
    assert lines(job)[-1] == "ZeroDivisionError: division by zero"
    assert any("Failed after " in line for line in lines(job))


def divide_in_another_process(worker, message):
    if worker:
        1 / 0  # noqa: B018


def test_an_error_in_a_worker_process_leaves_the_workers_traceback(job):
    with pytest.raises(ZeroDivisionError), logged(job), Workers(divide_in_another_process, 2) as workers:
        workers.run(None)
    text = "\n".join(lines(job))
    assert "In worker 2 of 2:" in text
    assert "in divide_in_another_process" in text


def test_an_interrupt_is_told(job):
    with pytest.raises(KeyboardInterrupt), logged(job):
        raise KeyboardInterrupt
    assert "Interrupted after " in lines(job)[-1]


def test_a_log_that_cannot_be_written_ends_in_a_sentence(job, tmp_path):
    (tmp_path / "logs").write_text("a file where the folder of the logs should be")
    with pytest.raises(SystemExit, match=r"^Error: The log .*a\.log cannot be written \(.+\)\. .*\.$"), logged(job):
        pass


def test_peak_memory_is_that_of_this_process_and_not_of_its_starter():
    ballast = np.ones(50_000_000)
    program = "from quietct.logs import peak_memory_mb; print(peak_memory_mb()[0])"
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    own, largest = peak_memory_mb()
    assert own > ballast.nbytes / 1e6
    assert 5 < float(child.stdout) < 100
    assert largest > 0


def test_every_script_is_logged(repository):
    scripts = sorted((repository / "scripts").glob("*.py"))
    assert len(scripts) > 25
    for script in scripts:
        assert script.read_text().count("    with logged(snakemake):\n") == 1, script
