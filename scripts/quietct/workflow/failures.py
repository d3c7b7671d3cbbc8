"""What failed in a run and why, in a few lines at its end."""

from __future__ import annotations

import errno
import logging
import re
import shutil
from contextlib import suppress
from pathlib import Path

FULL_BELOW_BYTES = 1 << 20  # what a job had written is gone when it has failed
CLOCK_SECONDS = 5.0  # clocks of nodes differ, and those of file systems are coarse
FULL = "The disk is full. Free some space and start again."
# The last line of a traceback that tells what the operating system refused.
REFUSED = re.compile(r"^\w*Error: \[Errno (\d+)\] ([^:\n]+)(?:: '?(.*?)'?)?$", re.MULTILINE)
LOCKED = (
    "Error: Another Snakemake is at work in this folder: wait until it has ended. "
    "(If you know that none is, on no machine, run the same command once with --unlock.)"
)


class Failures(logging.Filter):
    """Follows what Snakemake logs: remembers the jobs that failed, and drops what `closing` says better.

    A filter of Snakemake's logger, in the main process. Its records carry what happened in attributes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, tuple[str, list[str]]] = {}  # number of a job -> its rule and logs
        self.started: dict[int, float] = {}  # number of a job -> when

    def filter(self, record: logging.LogRecord) -> bool:
        """Note what the record tells, and say whether it is shown."""
        event = str(getattr(getattr(record, "event", None), "value", ""))
        if event == "job_info":
            self.started[vars(record)["jobid"]] = record.created
        elif event == "job_error":
            self.jobs[vars(record)["jobid"]] = (vars(record)["rule_name"], list(vars(record)["log"]))
        elif event == "job_finished":
            self.jobs.pop(vars(record)["job_id"], None)  # another attempt went well
        text = record.getMessage()
        if record.levelno >= logging.ERROR and (sentence := in_one_sentence(text)):
            record.msg, record.args = sentence, ()
        said_better = ("CalledProcessError", "Exiting because a job execution failed", "At least one job did not")
        return not any(part in text for part in said_better)

    def closing(self) -> str:
        """Give one line for each job that failed and was not done after all; empty if there are none."""
        lines = [
            f"  {rule}: {cause(logs, self.started.get(number, 0.0))}" for number, (rule, logs) in self.jobs.items()
        ]
        count = f"{len(lines)} job{'' if len(lines) == 1 else 's'} failed:"
        return "\n".join([count, *dict.fromkeys(lines)]) if lines else ""


def in_one_sentence(text: str) -> str | None:
    """Put what Snakemake says of a locked folder, or of what the system refused it, in one sentence."""
    if "Directory cannot be locked" in text:
        return LOCKED
    refused = REFUSED.findall(text)
    if not refused:
        return None
    number, reason, place = refused[-1]
    if int(number) in (errno.ENOSPC, errno.EDQUOT):
        return f"Error: {FULL}"
    return f"Error: {place or 'A file'} cannot be used ({reason}). Mend that, or choose another folder by --directory."


def cause(logs: list[str], started: float = 0.0) -> str:
    """Say why a job failed, from its log: the sentence of a user's mistake, or the last line of a traceback.

    Parameters
    ----------
    logs : list of path
        The rule's log comes first.
    started : float
        When the job started, in seconds since 1970; an older log is of another attempt.
    """
    path = Path(logs[0]) if logs else None
    text = ""
    with suppress(OSError):
        if path and path.stat().st_mtime >= started - CLOCK_SECONDS:
            text = path.read_text(encoding="utf-8", errors="replace")
    sentences = re.findall(r"^[-\d]+ [:\d]+ Error: (.+)", text, flags=re.M)
    if sentences:
        return sentences[-1]
    if "Unexpected error\nTraceback" in text:
        last = [line for line in text.splitlines() if line and not line.startswith(" ")][-1]
        return f"{last} (a fault of the program; {path} tells where)"
    if _is_full(path):
        return FULL
    if not text:
        return "It was killed or could not begin; the lines above may tell why."
    if " Done in " in text.splitlines()[-1]:
        return (
            f"It was done and then killed, or left not all that it should. The lines above may tell; its log is {path}."
        )
    return (
        "It was killed, most often because memory ran out (on a cluster also its time): start again with fewer "
        f"--cores, or give it more. Its log is {path}."
    )


def _is_full(path: Path | None) -> bool:
    places = [place for place in (*(path.parents if path else ()), Path()) if place.exists()]
    return shutil.disk_usage(places[0]).free < FULL_BELOW_BYTES
