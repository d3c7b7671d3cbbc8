import os
import pty
import subprocess
import sys
import termios

import pytest

from quietct.ct.sources.progress import Progress, _duration


def test_without_a_terminal_lines_tell_size_and_time_left(caplog):
    caplog.set_level("INFO")
    progress = Progress("scan", 4_000_000, done=1_000_000, every_s=0)
    progress(1_500_000)
    progress(-500_000)
    progress.close()
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("scan: 2.5 of 4.0 MB, ")
    assert second.startswith("scan: 2.0 of 4.0 MB, ")
    assert first.endswith(" left")


def test_lines_do_not_follow_each_other_closely(caplog):
    caplog.set_level("INFO")
    progress = Progress("scan", 4_000_000)
    for _ in range(1000):
        progress(4000)
    assert caplog.records == []


def test_an_unknown_size_is_not_made_up(caplog):
    caplog.set_level("INFO")
    Progress("scan", None, every_s=0)(1_500_000)
    assert [record.getMessage() for record in caplog.records] == ["scan: 1.5 MB"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (754, "12 min 34 s"), (7500, "2 h 05 min")]
)
def test_time_is_told_for_people(seconds, words):
    assert _duration(seconds) == words


def test_a_terminal_shows_a_bar_and_no_lines(repository):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    program = (
        "import logging; logging.basicConfig(level=20); from quietct.ct.sources.progress import Progress\n"
        "p = Progress('scan', 4_000_000, every_s=0); p(1_000_000); p(3_000_000); p.close()"
    )
    subprocess.run(
        [sys.executable, "-c", program], stderr=theirs, check=True,
        env=os.environ | {"PYTHONPATH": str(repository / "scripts")},
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "100%" in shown
    assert "4.00M" in shown
    assert "INFO" not in shown
