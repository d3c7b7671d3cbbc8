"""The command `quietct`, run as a user runs it: a process of its own."""

import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_slice
from pydicom import dcmread

import quietct
from quietct.cli import SPEAKERS, main
from quietct.ct.sources import fetch_series

SECRETS = {
    "PatientName": "Meier^Anneliese",
    "PatientID": "4711-0815",
    "PatientBirthDate": "19340506",
    "OtherPatientNames": "Schulze^Anneliese",
    "ReferringPhysicianName": "Quacksalber^Hubert",
    "InstitutionName": "Klinikum Hintertupfing",
    "PatientComments": "Vogelstimmenimitator",
    "AccessionNumber": "ACC998877",
}
WORDS = ("Meier", "Anneliese", "4711-0815", "19340506", "Schulze", "Quacksalber", "Hintertupfing", "Vogelstimmen",
         "ACC998877")  # fmt: skip


@pytest.fixture(autouse=True)
def logging_as_before():
    """A command has its process for itself; a test that calls `main` leaves others to come after it."""
    loggers = [logging.getLogger(name) for name in (None, *SPEAKERS)]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.fixture(scope="module")
def command(repository):
    """Function that gives the words and the environment of a command."""

    def start(*words):
        environment = {**os.environ, "PYTHONPATH": str(repository / "scripts")}
        return [sys.executable, "-m", "quietct", *map(str, words)], environment

    return start


@pytest.fixture(scope="module")
def quietct_command(command):
    """Function that runs the command and gives what came of it."""

    def run(*words, cwd=None, **options):
        line, environment = command(*words)
        done = subprocess.run(
            line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False, **options
        )
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Two slices of the synthetic chest, as a scanner would write them."""
    folder = tmp_path_factory.mktemp("phantom") / "scan"
    fetch_series("phantom", None, folder, n_slices=2, exposure_mas="inf")
    return folder


def make_scan(folder, count=2, shape=(48, 40), series="1.2.3.4", **attributes):
    rng = np.random.default_rng(5)
    for k in range(count):
        stored = rng.integers(900, 1200, shape).astype(np.uint16)
        write_slice(folder / f"{series}-{k}.dcm", 3.0 * k, stored, SeriesInstanceUID=series, **attributes)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_series_is_denoised_once(tmp_path, phantom, quietct_command):
    words = ("denoise", phantom, tmp_path / "out", "--preview", tmp_path / "look.png", "--window", "-160", "240")
    first = quietct_command(*words)
    assert (first.returncode, first.stdout) == (0, "")
    assert "synthetic chest" in first.stderr  # what the weights are
    assert "Wrote 2 denoised slices of 512 x 512 pixels" in first.stderr
    written = contents(tmp_path / "out")
    assert list(written) == ["0001.dcm", "0002.dcm"]
    again = quietct_command(*words)
    assert again.returncode == 0
    assert "Nothing to do" in again.stderr
    assert contents(tmp_path / "out") == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look.png", "out"]


def test_weights_may_stand_first_and_options_anywhere(tmp_path, repository, quietct_command):
    scan = make_scan(tmp_path / "scan")
    weights = repository / "scripts/quietct/weights/demo.npz"
    done = quietct_command("denoise", "--threads", "1", weights, scan, "--quiet", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "synthetic chest" not in done.stderr
    assert all(line.startswith("Warning: ") for line in done.stderr.splitlines())
    assert len(contents(tmp_path / "out")) == 2


def test_of_several_series_one_has_to_be_named(tmp_path, quietct_command):
    make_scan(tmp_path / "scan", 2, series="1.2.3.4", SeriesDescription="Thorax soft")
    make_scan(tmp_path / "scan", 3, series="1.2.3.5", SeriesDescription="Thorax sharp", **SECRETS)
    vague = quietct_command("denoise", tmp_path / "scan", tmp_path / "out")
    assert vague.returncode == 1
    assert vague.stderr.splitlines()[-1] == (
        f"Error: {tmp_path}/scan contains 2 CT series: 1.2.3.4 (Thorax soft, 2 slices); "
        "1.2.3.5 (Thorax sharp, 3 slices). Name one of them with --series."
    )
    assert not (tmp_path / "out").exists()
    named = quietct_command("denoise", tmp_path / "scan", tmp_path / "out", "--series", "1.2.3.5")
    assert named.returncode == 0
    assert len(contents(tmp_path / "out")) == 3


def test_nothing_about_the_patient_is_said_or_drawn(tmp_path, quietct_command):
    scan = make_scan(tmp_path / "scan", SeriesDescription="Thorax", **SECRETS)
    picture = tmp_path / "look.png"
    done = quietct_command("denoise", scan, tmp_path / "out", "--deidentify", "--preview", picture)
    assert done.returncode == 0, done.stderr
    seen = {
        "screen": (done.stdout + done.stderr).encode(),
        "look.png": picture.read_bytes(),
        **contents(tmp_path / "out"),
    }
    for name, content in seen.items():
        assert not [word for word in WORDS if word.encode() in content], name
    kept = quietct_command("denoise", scan, tmp_path / "kept")
    assert not [word for word in WORDS if word in kept.stdout + kept.stderr]
    assert dcmread(tmp_path / "kept" / "0001.dcm").PatientName == SECRETS["PatientName"]


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def text_file(path, bomb):
    path.write_text("not weights")


def foreign_archive(path, bomb):
    np.savez(path, image=np.zeros(3))


def archive_with_pickle(path, bomb):
    np.savez(path, description=np.array([Bomb(bomb)], dtype=object))


def bare_pickle(path, bomb):
    path.write_bytes(pickle.dumps(Bomb(bomb)))


def folder(path, bomb):
    path.mkdir()


@pytest.mark.parametrize("make", [text_file, foreign_archive, archive_with_pickle, bare_pickle, folder])
@pytest.mark.parametrize("verb", ["denoise", "info"])
def test_what_is_no_weights_ends_with_a_sentence_and_is_never_unpickled(tmp_path, capsys, verb, make):
    weights, bomb = tmp_path / "weights.npz", tmp_path / "exploded"
    make(weights, bomb)
    assert main([verb, str(weights), *["scan", str(tmp_path / "out")][: 2 * (verb == "denoise")]]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(f"Error: {re.escape(str(weights))} (is not|cannot be).*\n", told.err)
    assert not bomb.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["denoise", "nowhere", "out"], "Error: The location nowhere does not exist"),
        (["denoise", "none.npz", "scan", "out"], "Error: none.npz does not exist"),
        (["denoise", "scan", "scan/out"], "Error: The output scan/out lies in the input scan"),
        (["denoise", "scan", "out", "--window", "200", "100"], "Error: The window 200 100 "),
        (["denoise", "scan", "out", "--series", "9.9"], r"Error: scan does not contain series 9.9 \(--series\)"),
        (
            ["denoise", "scan", "out", "--acquisition", "7"],
            r"Error: scan has no slice of acquisition 7 \(--acquisition\)",
        ),
        (["denoise", "broken.zip", "out"], "Error: broken.zip is not a readable .zip file"),
        (["denoise", "empty", "out"], "Error: empty contains no CT images"),
    ],
)
def test_a_mistake_ends_with_one_sentence(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    make_scan(tmp_path / "scan")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 broken")
    assert main([*words, *["--quiet"] * (words[0] == "denoise")]) == 1
    told = capsys.readouterr().err
    assert re.match(sentence, told)
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_fault_of_quietct_is_told_without_what_it_quotes(monkeypatch, capsys):
    def fail(options):
        raise ValueError(f"bad value {SECRETS['PatientName']}")

    monkeypatch.setattr("quietct.cli._denoise", fail)
    assert main(["denoise", "scan", "out"]) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(
        r"Error: quietct .* failed by a fault of its own \(ValueError, test_cli.py line \d+\).*\n", told
    )
    assert not [word for word in WORDS if word in told]


@pytest.mark.parametrize(
    "words", [[], ["denoise"], ["denoise", "a"], ["denoise", "a", "b", "c", "d"], ["noise"], ["info", "a", "b"],
              ["denoise", "a", "b", "--threads", "0"], ["denoise", "a", "b", "--window", "1"]],
)  # fmt: skip
def test_a_wrong_command_line_ends_with_2(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: quietct" in capsys.readouterr().err


def test_a_full_disk_ends_with_a_sentence_and_nothing_half_written(tmp_path, quietct_command):
    """A limit on the size of files stands in for the disk."""
    import resource

    scan = make_scan(tmp_path / "scan", shape=(200, 200))
    done = quietct_command(
        "denoise", scan, tmp_path / "out", "--quiet",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"Error: {tmp_path}/out cannot be used (File too large)")
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_leaves_neither_files_nor_processes(tmp_path, command, number, status):
    scan = make_scan(tmp_path / "scan", count=40, shape=(512, 512))
    line, environment = command("denoise", scan, tmp_path / "out", "--threads", 2)
    process = subprocess.Popen(
        line, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for _ in range(600):
        if list(tmp_path.glob(".out.part-*/*.dcm")):
            break
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does
    _, told = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_info_tells_what_the_packaged_weights_are(quietct_command):
    done = quietct_command("info")
    assert done.returncode == 0
    for words in ("synthetic chest", "layers", "Training data", "Noise", "Normalisation", "Measured"):
        assert words in done.stdout


def test_version_answers_without_loading_anything_large(command):
    line, environment = command("--version")
    line[1:1] = ["-X", "importtime"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"quietct {quietct.__version__}\n"
    loaded = {row.rpartition("|")[2].strip().partition(".")[0] for row in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & {"numpy", "pydicom", "matplotlib", "scipy", "pandas"}


@pytest.mark.parametrize("verb", ["denoise", "info"])
def test_help_has_examples_that_the_command_understands(capsys, monkeypatch, verb):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    examples = [line.split()[1:] for line in text.splitlines() if line.startswith("  quietct ")]
    assert len(examples) >= 2
    ran = []
    monkeypatch.setattr(f"quietct.cli._{verb}", lambda options: ran.append(options) or 0)
    assert [main(words) for words in examples] == [0] * len(examples)
    assert len(ran) == len(examples)


def test_command_and_weights_are_parts_of_the_installed_package(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"quietct": "quietct.cli:main"}
    package = repository / "scripts" / "quietct"
    data = {
        path for pattern in project["tool"]["setuptools"]["package-data"]["quietct"] for path in package.glob(pattern)
    }
    assert package / "weights" / "demo.npz" in data
