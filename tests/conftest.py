"""What all tests share."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from quietct.ct.sources import fetch_series

REPOSITORY = Path(__file__).resolve().parents[1]

# Machines differ in speed; a slow example is no failure.
settings.register_profile("quietct", deadline=None, derandomize=True)
settings.load_profile("quietct")

# A shell ignores Ctrl-C for what it starts in the background, and what that starts inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

skips: list[str] = []


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        skips.append(
            f"{report.nodeid}: {report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr}"
        )


def pytest_collectreport(report):
    if report.skipped:
        skips.append(
            f"{report.nodeid}: {report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr}"
        )


def forbidden_skips():
    """With QUIETCT_NO_SKIPS=1 no test may skip, save those of real slices on a machine that does not have them."""
    if os.environ.get("QUIETCT_NO_SKIPS") != "1":
        return []
    have_slices = (REPOSITORY.parent / "shared" / "data").is_dir()
    return [skip for skip in skips if have_slices or "shared/data" not in skip]


def pytest_xdist_auto_num_workers():
    """One more than there are cores, because tests with servers and schedulers wait."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
    """Begin with what takes long, so that no worker is left with it at the end: whole runs before single functions."""
    items.sort(key=lambda item: "unit" in item.path.parts)


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 0 and forbidden_skips():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    for skip in forbidden_skips():
        terminalreporter.write_line(f"Skipped, but QUIETCT_NO_SKIPS is set: {skip}", red=True)


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount:
        pytest.skip("mount is missing")
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root rights")
    yield place
    subprocess.run([umount, str(place)], check=True)


@pytest.fixture(scope="session")
def repository():
    """Root folder of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Function that gives a copy of a folder that the first of all workers makes."""

    def copy_of(name, make):
        base = tmp_path_factory.getbasetemp()
        base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        with FileLock(base / f"{name}.lock"):
            if not (base / name).exists():
                part = base / f"{name}.part"
                shutil.rmtree(part, ignore_errors=True)  # of a worker that failed
                part.mkdir()
                make(part)
                part.rename(base / name)
        return shutil.copytree(base / name, tmp_path_factory.mktemp(name), dirs_exist_ok=True)

    return copy_of


@pytest.fixture(scope="session")
def scans(made_once):
    """The folder `resources` with both scans of the tiny experiment, for tests of what comes after fetching."""

    def make(folder):
        for name, layout in (("train_1", 1), ("test_1", 2)):
            fetch_series("phantom", None, folder / "dicom" / name, nodule_layout=layout, n_slices=2)

    return made_once("resources", make)


@pytest.fixture(scope="session")
def repository_copy(tmp_path_factory):
    """A copy of everything the workflow needs, with the same file times, to be edited by a test."""
    copy = tmp_path_factory.mktemp("repository")
    for name in ("workflow", "scripts", "config", "profiles"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "environment.yml"):
        shutil.copy2(REPOSITORY / name, copy / name)
    return copy
