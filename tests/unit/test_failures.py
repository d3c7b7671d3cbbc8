"""The closing list of a run that failed: each job once, with its cause."""

import logging
from types import SimpleNamespace

import pytest

from quietct.workflow import failures
from quietct.workflow.failures import Failures, cause

BEGIN = "2026-11-27 20:28:23 add_noise begins: series a; threads: 1\n"
THEN = BEGIN + "2026-11-27 20:28:24 "
TRACEBACK = (
    'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    1 / 0\nZeroDivisionError: division by zero\n'
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (THEN + "Error: letters has no images. Name another.\n", "letters has no images. Name another."),
        (THEN + "Unexpected error\n" + TRACEBACK, "ZeroDivisionError: division by zero (a fault of"),
        (THEN + "3 slices\n", "It was killed, most often because memory ran out"),
        (THEN + "Done in 0.1 s; peak memory 40 MB\n", "It was done and then killed, or left not"),
        ("", "It was killed or could not begin"),
    ],
)  # fmt: skip
def test_a_log_tells_the_cause(tmp_path, text, words):
    log = tmp_path / "a.log"
    log.write_text(text)
    assert cause([str(log)]).startswith(words)
    assert "\n" not in cause([str(log)])


def test_a_missing_log_is_no_other_failure(tmp_path):
    assert cause([str(tmp_path / "none/a.log")]) == cause([]) != ""


def test_without_space_for_a_log_the_cause_is_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(failures.shutil, "disk_usage", lambda place: SimpleNamespace(free=0))
    assert cause([str(tmp_path / "none/a.log")]) == "The disk is full. Free some space and start again."


def record(text, **attributes):
    made = logging.LogRecord("snakemake", logging.ERROR, "", 0, text, (), None)
    vars(made).update(attributes)
    return made


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(THEN + "Error: No images.\n")
    return str(path)


def failed(jobid, log, rule="add_noise"):
    return record("Error in rule", event=SimpleNamespace(value="job_error"), jobid=jobid, rule_name=rule, log=[log])


def test_each_failed_job_is_listed_once_unless_another_attempt_went_well(log):
    seen = Failures()
    for jobid, rule in ((1, "fetch"), (2, "noise"), (2, "noise"), (3, "noise")):
        assert seen.filter(failed(jobid, log, rule))
    assert seen.filter(record("Finished", event=SimpleNamespace(value="job_finished"), job_id=1))
    assert seen.closing() == "2 jobs failed:\n  noise: No images."


def test_a_log_of_an_earlier_attempt_is_not_taken_for_that_of_this_one(log):
    seen = Failures()
    begins = record("Job", event=SimpleNamespace(value="job_info"), jobid=1)
    begins.created += 60
    assert seen.filter(begins)
    assert seen.filter(failed(1, log))
    assert seen.closing().endswith("It was killed or could not begin; the lines above may tell why.")


def test_without_failures_there_is_no_list():
    assert Failures().closing() == ""


def test_what_the_list_says_better_is_dropped_and_the_rest_stays():
    seen = Failures()
    assert not seen.filter(record("RuleException:\nCalledProcessError in file x\nCommand '...' returned 1"))
    assert not seen.filter(record("WorkflowError:\nAt least one job did not complete successfully."))
    assert seen.filter(record("MissingOutputException: the file is not there"))


def test_a_lock_is_told_in_one_sentence_that_says_what_to_do():
    locked = record("LockException:\nError: Directory cannot be locked. Please make sure ...\nand so on")
    assert Failures().filter(locked)
    assert locked.getMessage().startswith("Error: Another Snakemake is at work in this folder: wait until")
    assert "\n" not in locked.getMessage()


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "Error: The disk is full. Free some space and start again."),
        (
            "OSError: [Errno 30] Read-only file system: '/r/a'",
            "Error: /r/a cannot be used (Read-only file system). Mend",
        ),
        ("PermissionError: [Errno 13] Permission denied: 'b'", "Error: b cannot be used (Permission denied). Mend"),
    ],
)
def test_a_traceback_of_what_the_system_refused_becomes_a_sentence(last, sentence):
    traceback = record('Traceback (most recent call last):\n\n  File "x.py", line 3, in f\n\n' + last + "\n")
    assert Failures().filter(traceback)
    assert traceback.getMessage().startswith(sentence)
    assert "\n" not in traceback.getMessage()


def test_a_refusal_without_a_traceback_becomes_the_same_sentence():
    other = record("WorkflowError:\nFailed to create.\nOSError: [Errno 30] Read-only file system: 'results/tiny'")
    assert Failures().filter(other)
    assert other.getMessage().startswith("Error: results/tiny cannot be used (Read-only file system). Mend that, or")


def test_another_traceback_stays_as_it_is():
    other = record("Traceback (most recent call last):\nValueError: of the program")
    assert Failures().filter(other)
    assert other.getMessage().endswith("of the program")
