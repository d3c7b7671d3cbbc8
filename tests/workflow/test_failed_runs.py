"""What the user sees at the end of a run in which several jobs failed, each in another way."""

import os
import sys

import pytest

BUG = "1 / 0\n"
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.fixture
def broken_repository(repository_copy):
    """A copy in which the rule that locates nodules has a fault, and the one that records the run is killed."""
    scripts = {name: repository_copy / f"scripts/{name}.py" for name in ("locate_nodules", "record_run")}
    texts = {name: path.read_text() for name, path in scripts.items()}
    for name, line in (("locate_nodules", BUG), ("record_run", KILL)):
        path = scripts[name]
        times = path.stat()
        path.write_text(texts[name].replace("snakemake):\n", f"snakemake):\n        {line}", 1))
        os.utime(path, (times.st_atime, times.st_mtime))
    yield repository_copy
    for name, path in scripts.items():
        path.write_text(texts[name])


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by signals")
def test_the_last_lines_name_each_job_that_failed_and_its_cause_once(folder, snakemake, broken_repository):
    (folder / "letters").mkdir()
    (folder / "letters/letter.txt").write_text("no image")
    (folder / "mine.tsv").write_text(
        "series\tsource\tlocation\trole\tn_slices\nscan\tdirectory\tletters\ttrain\t\ntest_1\tphantom\t\ttest\t1\n"
    )
    words = ["--configfile", "tiny.yaml", "--config", "series=mine.tsv"]
    targets = ["results/tiny/volumes/scan.npy", "results/tiny/nodules/test_1.tsv", "results/tiny/config.yaml"]
    outcome = snakemake(folder, *targets, *words, repository=broken_repository)
    assert outcome.status == 1
    lines = outcome.text.splitlines()
    lines = [line for line in lines if not line.startswith(("Complete log", "Elapsed time"))]
    assert lines[-4] == "3 jobs failed:"
    listed = dict(line.strip().split(": ", 1) for line in lines[-3:])
    assert listed["fetch_series"].startswith("letters contains no CT images (")
    assert listed["fetch_series"].endswith(" Name another location.")
    assert listed["locate_nodules"].startswith(
        "ZeroDivisionError: division by zero (a fault of the program; logs/tiny/"
    )
    assert listed["record_run"].startswith("It was killed, most often because memory ran out")
    assert "CalledProcessError" not in outcome.text
    assert "At least one job did not complete" not in outcome.text
