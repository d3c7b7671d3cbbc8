"""A full disk, a read-only one, and two Snakemakes in one folder: one sentence, and the same results after it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WORDS = ["--configfile", "tiny.yaml"]
FILM = "results/tiny/gifs/gaussian_10/training-small-sgd-seed1.gif"
NOISY = "results/tiny/noisy/gaussian_10/train_1.npy"
FULL = "The disk is full"


def remount(place, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def prepare(folder):
    for name in ("tiny.yaml", "tiny.tsv"):
        shutil.copy(HERE / name, folder)


def leave(disk, free):
    """Fill a disk but for some bytes."""
    (disk / "ballast").unlink(missing_ok=True)
    system = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(max(0, system.f_bavail * system.f_frsize - free)))


def check_sentence(outcome, words):
    """It ended with a sentence, or one for each job that failed, and no wall of text."""
    assert outcome.status != 0
    assert "Traceback" not in outcome.text
    assert "Logging error" not in outcome.text
    tail = [line for line in outcome.text.splitlines() if not line.startswith(("Complete log", "Elapsed time"))]
    assert words in tail[-1]


def check_same_results(folder, other):
    files = [path for path in (folder / "results").rglob("*") if path.is_file()]
    files = [path for path in files if "benchmarks" not in path.parts and path.name != "stages.tsv"]
    assert len(files) >= 3
    for path in files:
        assert path.read_bytes() == (other / path.relative_to(folder)).read_bytes(), path


def test_a_disk_that_is_full_again_and_again_ends_in_sentences_and_then_in_the_same_results(
    small_disk, finished, snakemake
):
    remount(small_disk, "size=32m")
    prepare(small_disk)
    for free in (0, 200_000, 2_500_000):
        leave(small_disk, free)
        outcome = snakemake(small_disk, FILM, *WORDS)
        check_sentence(outcome, FULL if free else "Nothing can be written in ")
    leave(small_disk, 20_000_000)
    outcome = snakemake(small_disk, FILM, *WORDS)
    assert outcome.status == 0, outcome.text
    (small_disk / "ballast").unlink()
    check_same_results(small_disk, finished)


def test_read_only_folders_end_in_a_sentence_and_the_same_command_finishes_once_they_are_not(
    small_disk, folder, finished, snakemake
):
    remount(small_disk, "size=32m")
    (folder / "results").symlink_to(small_disk)
    remount(small_disk, "ro")
    check_sentence(snakemake(folder, NOISY, *WORDS), "Read-only file system")
    remount(small_disk, "rw")
    assert snakemake(folder, NOISY, *WORDS).status == 0
    check_same_results(folder, finished)
    prepare(small_disk)
    remount(small_disk, "ro")
    outcome = snakemake(small_disk, *WORDS)
    check_sentence(outcome, f"Error: Nothing can be written in {small_disk} (Read-only file system). Mend that, or")


def started(words, folder, file):
    """Start a command in a folder, and wait until it has made a file."""
    with open(folder / "screen.txt", "wb") as screen:
        process = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen)
    end = time.monotonic() + 100
    while not (folder / file).exists():
        assert process.poll() is None, (folder / "screen.txt").read_text()
        assert time.monotonic() < end
        time.sleep(0.02)
    return process


def test_a_second_snakemake_in_the_folder_ends_with_a_sentence_and_the_first_finishes(
    folder, finished, snakemake, command
):
    first = started(command(folder, NOISY, *WORDS), folder, ".snakemake/locks/0.output.lock")
    outcome = snakemake(folder, NOISY, *WORDS)
    assert first.wait(timeout=200) == 0, (folder / "screen.txt").read_text()
    check_sentence(outcome, "Error: Another Snakemake is at work in this folder: wait until it has ended.")
    check_same_results(folder, finished)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends scripts with their Snakemake")
def test_the_lock_of_a_killed_snakemake_asks_for_nothing(folder, snakemake, command):
    process = started(command(folder, NOISY, *WORDS), folder, "logs/tiny/fetch_series/train_1.log")
    process.kill()
    process.wait()
    outcome = snakemake(folder, NOISY, *WORDS)
    assert outcome.status == 0, outcome.text
    assert "was killed; its lock is removed" in outcome.text
