"""Files of trained networks and checkpoints: what was saved comes back, and nothing else is taken for it."""

import io
import json
import os
import pickle
import time

import numpy as np
import pytest
from small_training import NETWORK, TRAINING

from quietct.errors import UserError
from quietct.nn.network import Architecture, Network
from quietct.nn.weights import load_network, network_digest, save_network


@pytest.fixture
def saved(tmp_path):
    """A small network on disk: its path, and the network."""
    network = Network(Architecture.from_config(NETWORK))
    network.initialise(np.random.default_rng(2))
    save_network(tmp_path / "weights.npz", network, {"seed": 3, "normalisation": TRAINING["normalisation"]})
    return tmp_path / "weights.npz", network


def test_saved_network_loads_without_pickle_and_is_the_same(saved, tmp_path):
    path, network = saved
    loaded, description = load_network(path)
    np.testing.assert_array_equal(loaded.parameters, network.parameters)
    assert loaded.architecture == network.architecture
    assert description["seed"] == 3
    time.sleep(2.1)  # zip archives count time in steps of two seconds
    save_network(tmp_path / "again.npz", network, {"seed": 3, "normalisation": TRAINING["normalisation"]})
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


NO_NETWORK = r"weights\.npz is not a trained network of quietct, or is damaged: [^.]*\.npz [^.]*\.$"


def array_file(value, pickled=False):
    stream = io.BytesIO()
    np.save(stream, np.array(value), allow_pickle=pickled)
    return stream.getvalue()


def archive(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"something else",
        b"PK\x03\x04 cut",
        pickle.dumps({"weights": 1}),
        array_file([1.0, 2.0]),
        archive(image=[1]),
    ],
    ids=["empty", "text", "cut", "pickle", "array", "archive"],
)
def test_a_file_that_is_no_network_is_refused(tmp_path, content):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=NO_NETWORK):
        load_network(path)
    with pytest.raises(UserError, match=r"absent\.npz does not exist"):
        load_network(tmp_path / "absent.npz")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        load_network(tmp_path)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_within_weights_is_refused_and_not_executed(saved, tmp_path):
    path, _ = saved
    with np.load(path) as arrays:
        contents = dict(arrays)
    for name in ("description", "layer1_weights"):
        np.savez(path, **contents | {name: np.array([Trap(tmp_path / "trapped")], dtype=object)})
        with pytest.raises(UserError, match=NO_NETWORK):
            load_network(path)
    assert not (tmp_path / "trapped").exists()


def test_weights_cut_or_flipped_anywhere_are_refused(saved):
    path, network = saved
    whole = path.read_bytes()
    for length in range(0, len(whole), 61):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=NO_NETWORK):
            load_network(path)
    for k in range(0, len(whole), 13):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 0x10]) + whole[k + 1 :])
        try:
            loaded, _ = load_network(path)
        except UserError:
            continue
        # What the archive's checksums do not cover, such as times.
        np.testing.assert_array_equal(loaded.parameters, network.parameters)


@pytest.mark.parametrize(
    "change",
    [
        {"layer1_bias": np.zeros(1, np.float32)},
        {"layer1_bias": np.zeros((), np.float32)},
        {"layer2_weights": np.zeros((1, 4, 1, 1), np.float32)},
        {"layer1_weights": np.zeros((4, 1, 3, 3))},
        {"layer1_bias": np.full(4, np.nan, np.float32)},
    ],
    ids=["short bias", "number", "other kernel", "float64", "not finite"],
)
def test_arrays_that_do_not_fit_the_architecture_are_refused(saved, change):
    path, _ = saved
    with np.load(path) as arrays:
        np.savez(path, **dict(arrays) | change)
    with pytest.raises(UserError, match=NO_NETWORK):
        load_network(path)


def test_numbers_that_were_exchanged_within_weights_are_refused(saved):
    path, network = saved
    with np.load(path) as arrays:
        contents = dict(arrays)
    for name in ("layer1_weights", "layer2_bias"):
        bits = contents[name].copy()
        bits.view(np.uint32).flat[0] ^= 1  # as small as a change can be, in an archive whose checksums are right
        np.savez(path, **contents | {name: bits})
        with pytest.raises(UserError, match=NO_NETWORK):
            load_network(path)
    np.savez(path, **contents)
    np.testing.assert_array_equal(load_network(path)[0].parameters, network.parameters)


def test_weights_of_the_first_versions_without_a_digest_can_still_be_read(saved):
    path, network = saved
    rewrite(path, lambda d: d.pop("network_sha256"))
    np.testing.assert_array_equal(load_network(path)[0].parameters, network.parameters)


def rewrite(path, edit):
    with np.load(path) as arrays:
        contents = dict(arrays)
    description = json.loads(str(contents["description"]))
    edit(description)
    np.savez(path, **contents | {"description": np.array(json.dumps(description))})


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.pop("architecture"),
        lambda d: d.pop("normalisation"),
        lambda d: d["normalisation"].update(scale_hu=0),
        lambda d: d["normalisation"].update(shift_hu="a lot"),
        lambda d: d["architecture"].update(layers=[]),
        lambda d: d["architecture"]["layers"][0].update(filters=10**12),
        lambda d: d["architecture"]["layers"][0].update(filters=4.0),
        lambda d: d["architecture"]["layers"][0].update(kernel=-3),
        lambda d: d["architecture"]["layers"][0].update(relu="no"),
        lambda d: d["architecture"]["layers"][1].update(add="input"),
        lambda d: d["architecture"]["layers"][1].update(add=False),
        lambda d: d["architecture"]["layers"][1].update(padding="some"),
    ],
)
def test_descriptions_that_make_no_network_are_refused(saved, edit):
    path, _ = saved
    rewrite(path, edit)
    with pytest.raises(UserError, match=NO_NETWORK):
        load_network(path)


def test_a_network_of_a_newer_version_is_refused_with_the_key_that_is_not_known(saved):
    path, _ = saved
    rewrite(path, lambda d: d["architecture"]["layers"][1].update(stride=2))
    with pytest.raises(UserError, match=r"weights\.npz holds a network with the key 'stride', .*: update quietct\.$"):
        load_network(path)
    rewrite(path, lambda d: (d["architecture"]["layers"][1].pop("stride"), d["architecture"].update(skip=1)))
    with pytest.raises(UserError, match=r"key 'skip'"):
        load_network(path)


def test_the_digest_of_a_network_is_that_of_all_that_decides_a_pixel(saved):
    network, description = load_network(saved[0])
    digest = network_digest(network, description)
    assert len(digest) == 64
    assert network_digest(network, description | {"seed": 4, "quality": {"psnr_db": 30}}) == digest
    assert network_digest(network, description | {"normalisation": {"shift_hu": 0, "scale_hu": 501}}) != digest
    network.layers[1][1][0] += np.float32(1e-6)
    assert network_digest(network, description) != digest
    without_shortcut = Network(Architecture.from_config(NETWORK | {"residual": False}))
    assert network_digest(without_shortcut, description) != network_digest(Network(network.architecture), description)
