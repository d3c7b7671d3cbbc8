"""A training meets damaged checkpoints and a full disk, and still ends with the bytes of one that met nothing."""

import os

import pytest
from small_training import FILES, NETWORK, train, write_data

from quietct.errors import UserError
from quietct.nn import training as loop


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data, and a training that nothing happened to."""
    folder = write_data(tmp_path_factory.mktemp("data"))
    train(folder, "whole")
    return folder


def check_whole(data, outputs):
    for name, suffix in FILES.items():
        assert outputs[name].read_bytes() == (data / "whole" / f"{name}{suffix}").read_bytes(), name


class StopError(Exception):
    """Stands for whatever ends a training in the middle."""


def stop_at(step, data, out, monkeypatch, **changes):
    """Train until a step and leave the checkpoint."""

    def stop():
        stop.steps += 1
        if stop.steps == step:
            raise StopError

    stop.steps = 0
    run = loop.Trainer.run
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "run", lambda self, observe, save, seconds, _: run(self, observe, save, 0, stop))
        with pytest.raises(StopError):
            train(data, out, **changes)
    return data / out / "checkpoint.npz"


DAMAGES = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "flipped": lambda whole: whole[:900] + bytes([whole[900] ^ 4]) + whole[901:],
    "other": lambda whole: b"something else",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_training_with_a_damaged_checkpoint_starts_anew_and_ends_with_the_same_bytes(
    data, damage, monkeypatch, caplog
):
    checkpoint = stop_at(9, data, damage, monkeypatch)
    checkpoint.write_bytes(DAMAGES[damage](checkpoint.read_bytes()))
    check_whole(data, train(data, damage))
    assert "is damaged or of another network: the training starts anew" in caplog.text
    assert not checkpoint.exists()


def test_a_checkpoint_of_another_network_under_the_same_name_changes_nothing(data, monkeypatch, caplog):
    wider = NETWORK | {"layers": [{"filters": 6, "kernel": 3}, {"filters": 1, "kernel": 3}]}
    stop_at(9, data, "foreign", monkeypatch, architecture=wider)
    check_whole(data, train(data, "foreign"))
    assert "the training starts anew" in caplog.text


def leave(disk, free):
    """Fill a disk but for some bytes."""
    (disk / "ballast").unlink(missing_ok=True)
    available = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(bytes(max(0, available - free)))


@pytest.mark.parametrize(
    ("with_checkpoint", "stages"), [(True, {"checkpoint"}), (False, {"history", "snapshots", "weights"})]
)
def test_a_disk_that_is_full_at_any_stage_ends_in_a_sentence_and_in_the_same_bytes_once_there_is_space(
    data, small_disk, with_checkpoint, stages
):
    out, told, pages = small_disk / "out", set(), 0
    checkpoint = (out if with_checkpoint else data) / "checkpoint.npz"

    def sentence_with(pages):
        leave(small_disk, 4096 * pages)
        try:
            train(data, out, checkpoint=checkpoint)
        except UserError as error:
            return str(error)
        return None

    while sentence := sentence_with(pages):
        assert "The disk is full: " in sentence
        told |= {name for name in ("checkpoint", *FILES) if f"{name}." in sentence}
        for name, suffix in FILES.items():
            (out / f"{name}{suffix}").unlink(missing_ok=True)  # as Snakemake does
        pages += 1
    assert told >= stages
    check_whole(data, {name: out / f"{name}{suffix}" for name, suffix in FILES.items()})
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{name}{suffix}" for name, suffix in FILES.items())
