"""Checkpoints: one of this training is gone on from; any other file is passed over with a warning, and no harm."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from quietct.errors import UserError
from quietct.nn.checkpoint import load_state, save_state
from quietct.nn.optimizers import make_optimiser
from quietct.nn.training import TrainingState

KEY = "these data"
DAMAGED = "is damaged or of another network: the training starts anew"


def state(parameters=50, optimiser="adam", step=0):
    rng = np.random.default_rng(3)
    made = TrainingState(
        rng.standard_normal(parameters).astype(np.float32),
        make_optimiser({"kind": optimiser, **SETTINGS[optimiser]}, parameters, np.dtype(np.float32)).state,
        step,
    )
    for array in made.optimiser.values():
        array[...] = rng.standard_normal(array.shape)
    made.history = [{"epoch": 0, "validation_psnr_db": 20.5}]
    made.snapshots = {0: np.arange(12, dtype=np.int16).reshape(3, 4)}
    return made


SETTINGS = {"adam": {}, "momentum": {"momentum": 0.9}, "sgd": {}}


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of 7 steps."""
    save_state(tmp_path / "checkpoint.npz", state(step=7), KEY)
    return tmp_path / "checkpoint.npz"


def check_same(found, wanted):
    np.testing.assert_array_equal(found.parameters, wanted.parameters)
    assert found.optimiser.keys() == wanted.optimiser.keys()
    for name, array in wanted.optimiser.items():
        np.testing.assert_array_equal(found.optimiser[name], array)
    assert (found.step, found.epoch_loss, found.history) == (wanted.step, wanted.epoch_loss, wanted.history)
    np.testing.assert_array_equal(found.snapshots[0], wanted.snapshots[0])


def test_a_checkpoint_comes_back_as_it_was_saved(saved):
    check_same(load_state(saved, KEY, state()), state(step=7))


def test_a_training_without_a_checkpoint_begins_without_a_word(tmp_path, caplog):
    assert load_state(tmp_path / "none.npz", KEY, state()) is None
    assert not caplog.records


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut", pickle.dumps({"step": 3})])
def test_what_is_no_checkpoint_is_passed_over_with_a_warning(tmp_path, caplog, content):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)
    assert load_state(path, KEY, state()) is None
    assert DAMAGED in caplog.text


def test_an_archive_of_other_things_is_passed_over_with_a_warning(tmp_path, caplog):
    for arrays in ({"image": np.zeros(3)}, {"facts": np.array('{"key": "these data"}')}):
        np.savez(tmp_path / "checkpoint.npz", **arrays)
        caplog.clear()
        assert load_state(tmp_path / "checkpoint.npz", KEY, state()) is None
        assert DAMAGED in caplog.text


def test_a_checkpoint_cut_or_flipped_anywhere_is_passed_over_or_as_it_was(saved):
    whole = saved.read_bytes()
    for length in range(0, len(whole), 37):
        saved.write_bytes(whole[:length])
        assert load_state(saved, KEY, state()) is None
    passed_over = 0
    for k in range(0, len(whole), 5):
        saved.write_bytes(whole[:k] + bytes([whole[k] ^ (1 << k % 8)]) + whole[k + 1 :])
        found = load_state(saved, KEY, state())
        passed_over += found is None
        if found is not None:  # what no checksum covers, such as times
            check_same(found, state(step=7))
    assert passed_over > len(whole) / 5 / 2


@pytest.mark.parametrize("name", ["parameters", "optimiser_mean", "snapshot_0", "facts"])
def test_an_array_exchanged_in_a_valid_archive_is_noticed(saved, caplog, name):
    with np.load(saved) as archive:
        arrays = dict(archive)
    name = name if name in arrays else next(key for key in arrays if key.startswith("optimiser_"))
    old = arrays[name]
    new = np.array(str(old).replace('"step": 7', '"step": 8')) if name == "facts" else old + old.dtype.type(1)
    np.savez(saved, **arrays | {name: new})
    assert load_state(saved, KEY, state()) is None
    assert DAMAGED in caplog.text


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_within_a_checkpoint_is_passed_over_and_not_executed(saved, tmp_path, caplog):
    with np.load(saved) as archive:
        arrays = dict(archive)
    np.savez(saved, **arrays | {"parameters": np.array([Trap(tmp_path / "trapped")], dtype=object)})
    assert load_state(saved, KEY, state()) is None
    assert DAMAGED in caplog.text
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    "other", [state(49), state(optimiser="sgd"), state(optimiser="momentum")], ids=["network", "sgd", "momentum"]
)
def test_a_checkpoint_of_another_network_or_optimiser_is_passed_over(saved, caplog, other):
    assert load_state(saved, KEY, other) is None
    assert DAMAGED in caplog.text
    with_float64 = replace(state(), parameters=state().parameters.astype(np.float64))
    assert load_state(saved, KEY, with_float64) is None


def test_a_checkpoint_of_other_data_is_passed_over(saved, caplog):
    assert load_state(saved, "other data", state()) is None
    assert "is of other data, settings or code: the training starts anew" in caplog.text


def test_a_folder_in_place_of_a_checkpoint_ends_with_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"checkpoint .* cannot be read \(Is a directory\): delete it\.$"):
        load_state(tmp_path, KEY, state())
