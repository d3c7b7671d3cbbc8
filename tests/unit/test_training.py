"""Training: it learns, is reproducible, survives kill -9, and says when it diverges."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_training import BOTH, FILES, NETWORK, TRAINING, train, write_data
from threadpoolctl import threadpool_info, threadpool_limits

from quietct.apply.denoise_dicom import load_model
from quietct.apply.description import describe
from quietct.ct.volume import NO_VALUE, new_volume
from quietct.denoising import denoise_series
from quietct.errors import UserError
from quietct.nn import gradients
from quietct.nn.checkpoint import load_state, save_state
from quietct.nn.inference import TiledInference
from quietct.nn.network import Architecture, Network
from quietct.nn.training import Trainer, TrainingState, snapshot_epochs
from quietct.nn.variants import Variant
from quietct.nn.weights import load_network
from quietct.training_job import PatchSet


@pytest.fixture
def data(tmp_path):
    """Noisy stripes: two patch files and a preview slice."""
    return write_data(tmp_path)


def read_history(outputs):
    header, *rows = [line.split("\t") for line in outputs["history"].read_text().splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize("variant", [{}, BOTH], ids=["sgd", "dilated_gradient_noise"])
def test_training_lowers_the_loss_and_denoises_an_unseen_slice(data, variant):
    rows = read_history(train(data, variant=variant, training=TRAINING | {"epochs": 150, "learning_rate": 0.01}))
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[1]["loss"])
    # The noisy slice has 20 log10(1000 / 80) = 21.9 dB.
    assert float(rows[-1]["validation_psnr_db"]) > 24


def test_history_tells_what_the_variant_did(data):
    rows = read_history(train(data, variant=BOTH))
    assert [int(row["epoch"]) for row in rows] == list(range(7))
    assert [int(row["step"]) for row in rows] == list(range(0, 25, 4))
    assert float(rows[3]["dilation_lambda"]) == pytest.approx(0.05 / 1.14)
    assert float(rows[1]["gradient_noise_sigma"]) > 0
    assert rows[0]["loss"] == ""


@pytest.mark.parametrize("threads", [2, 3])
def test_same_seed_gives_the_same_bytes_for_any_number_of_threads(data, threads, monkeypatch):
    monkeypatch.setattr(gradients, "TOGETHER", 24 * 24)  # so that each patch can have its worker
    first = train(data, "first", variant=BOTH, threads=1)
    second = train(data, "second", variant=BOTH, threads=threads)
    for name in FILES:
        assert first[name].read_bytes() == second[name].read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="workers are processes on Linux alone")
@pytest.mark.parametrize("killed_at", [1, 2, 11])
def test_a_killed_worker_ends_the_job_with_one_sentence_and_a_rerun_ends_with_the_same_bytes(
    data, killed_at, monkeypatch
):
    monkeypatch.setattr(gradients, "TOGETHER", 24 * 24)
    training = TRAINING | {"checkpoint_seconds": 1000}
    whole = train(data, "whole", variant=BOTH, training=training)
    batch, parent, calls = PatchSet.batch, os.getpid(), []

    def deadly(self, indices):
        calls.append(indices)
        if os.getpid() != parent and len(calls) > 2 * killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(self, indices)

    with monkeypatch.context() as patch:
        patch.setattr(PatchSet, "batch", deadly)
        with pytest.raises(UserError, match=r"^Worker process 2 of 2 was killed by signal 9 .*`batch_size`[^.]*\.$"):
            train(data, "killed", variant=BOTH, training=training, threads=2)
    assert not multiprocessing.active_children()
    with np.load(data / "killed" / "checkpoint.npz") as checkpoint:
        assert json.loads(str(checkpoint["facts"]))["step"] >= killed_at
    resumed = train(data, "killed", variant=BOTH, training=training, threads=2)
    for name in FILES:
        assert resumed[name].read_bytes() == whole[name].read_bytes()


def test_the_preview_is_denoised_with_one_blas_thread(data, monkeypatch):
    seen = []
    denoise = TiledInference.denoise_hu

    def recorded(*arguments):
        seen.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        return denoise(*arguments)

    monkeypatch.setattr(TiledInference, "denoise_hu", recorded)
    with threadpool_limits(2, "blas"):
        train(data)
    assert set(seen) == {1}


def test_another_seed_gives_another_network(data):
    assert train(data, "first")["weights"].read_bytes() != train(data, "second", seed=2)["weights"].read_bytes()


def test_without_shuffling_patches_come_in_their_order(data, monkeypatch):
    seen = []
    batch = PatchSet.batch
    monkeypatch.setattr(PatchSet, "batch", lambda self, indices: seen.append(list(indices)) or batch(self, indices))
    train(data, training=TRAINING | {"shuffle": False, "epochs": 2})
    assert seen == 2 * [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12]]


@pytest.mark.parametrize(("init", "same"), [("shared", True), ("independent", False)])
def test_variants_share_initial_weights_unless_told_otherwise(data, init, same):
    previews = []
    for variant in ("sgd", "dilated"):
        names = {"noise": "some", "network": "small", "variant": variant}
        outputs = train(data, variant, names=names, training=TRAINING | {"init": init})
        with np.load(outputs["snapshots"]) as snapshots:
            previews.append(snapshots["images"][0])
    assert np.array_equal(*previews) is same


def test_snapshots_hold_the_preview_slice_from_untrained_to_trained(data):
    outputs = train(data)
    network, description = load_network(outputs["weights"])
    with np.load(outputs["snapshots"]) as snapshots:
        assert snapshots["epochs"].tolist() == [0, 2, 6]
        assert snapshots["images"].shape == (3, 24, 24)
        noisy, last = snapshots["noisy"], snapshots["images"][-1]
    np.testing.assert_array_equal(noisy, np.load(data / "noisy.npy")[1])
    restored = network.apply(noisy[None, None] / np.float32(500))[0, 0] * 500
    np.testing.assert_allclose(last, restored, atol=0.51)
    assert description["normalisation"] == {"shift_hu": 0, "scale_hu": 500}


KILLED = """
import json, sys, time
sys.path[:0] = json.loads(sys.argv[1])
import test_training
from pathlib import Path
import quietct.training_job as job
save = job.save_state
def slow(path, state, key):
    save(path, state, key)
    if state.step == int(sys.argv[3]):
        print("now", flush=True)
        time.sleep(60)
job.save_state = slow
test_training.train(Path(sys.argv[2]), "killed", variant=test_training.BOTH)
"""


@pytest.mark.parametrize("step", [1, 8, 9, 23])
def test_training_killed_at_any_step_resumes_and_ends_with_the_same_bytes(data, step):
    whole = train(data, "whole", variant=BOTH)
    paths = json.dumps([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", KILLED, paths, str(data), str(step)], stdout=subprocess.PIPE)
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (data / "killed" / "weights.npz").exists()
    assert (data / "killed" / "checkpoint.npz").exists()
    resumed = train(data, "killed", variant=BOTH)
    for name in FILES:
        assert resumed[name].read_bytes() == whole[name].read_bytes()
    assert not (data / "killed" / "checkpoint.npz").exists()


def test_checkpoint_of_other_data_is_not_used(data):
    whole = train(data, "whole")
    state = TrainingState(np.zeros(3, np.float32), {})
    (data / "other").mkdir()
    save_state(data / "other" / "checkpoint.npz", state, "other data")
    assert load_state(data / "other" / "checkpoint.npz", "these data", state) is None
    assert train(data, "other")["weights"].read_bytes() == whole["weights"].read_bytes()


@pytest.mark.filterwarnings("error")
def test_a_diverged_training_leaves_its_last_finite_weights_and_says_so(data, caplog):
    training = TRAINING | {"optimiser": {"kind": "sgd"}, "learning_rate": 1.0e6, "epochs": 50}
    train(data, training=training)
    network, description = load_network(data / "out" / "weights.npz")
    assert np.isfinite(network.parameters).all()
    assert re.search(r"epoch \d+, step \d+.*lower `learning_rate`", description["diverged"])
    assert description["diverged"] in caplog.text
    assert description["diverged"] in describe(description)
    history = pd.read_csv(data / "out" / "history.tsv", sep="\t")
    assert history["epoch"].tolist() == list(range(len(history)))
    assert len(history) < 51
    assert not (data / "out" / "checkpoint.npz").exists()
    denoise_series(data / "out" / "weights.npz", data / "noisy.npy", data / "denoised.npy")
    assert (np.load(data / "denoised.npy") == NO_VALUE).all()
    with pytest.raises(UserError, match="cannot denoise: Training diverged"):
        load_model(data / "out" / "weights.npz")


def test_patches_of_different_sizes_are_refused(data):
    with new_volume(data / "c.npy", (2, 2, 16, 16)) as patches:
        patches[...] = 0
    with pytest.raises(UserError, match=r"differ in size .*c \(16, 16\)"):
        PatchSet([data / "a.npy", data / "c.npy"], TRAINING["normalisation"])


def test_a_preview_slice_that_does_not_exist_is_named(data):
    with pytest.raises(UserError, match=r"preview\.slice is 3, but .*clean\.npy has the slices 0 to 2"):
        train(data, preview_slice=3)


def test_patch_set_gives_the_pairs_of_all_files_in_order(data):
    patches = PatchSet([data / "a.npy", data / "b.npy"], {"shift_hu": 100, "scale_hu": 50})
    noisy, clean = patches.batch(np.array([2, 6, 7, 12]))
    pairs = np.concatenate([np.load(data / "a.npy"), np.load(data / "b.npy")])[[2, 6, 7, 12]]
    assert len(patches) == 13
    np.testing.assert_allclose(noisy[:, 0], (pairs[:, 0] - 100.0) / 50, rtol=1e-6)
    np.testing.assert_allclose(clean[:, 0], (pairs[:, 1] - 100.0) / 50, rtol=1e-6)


@pytest.mark.parametrize("augment", [True, False])
def test_orientations_of_an_epoch_reach_all_eight_equally_often(augment):
    training = TRAINING | {"augment": augment, "batch_size": 1}
    architecture = Network(Architecture.from_config(NETWORK))
    trainer = Trainer(architecture, Variant(), training, 800, None, (8, 8), initialiser={"kind": "he"}, seed=7)
    drawn = Counter((chance.turns, chance.flip) for chance in trainer._chances(0, 0))
    if not augment:
        assert drawn == {(0, False): 800}
        return
    assert sorted(drawn) == [(turns, flip) for turns in range(4) for flip in (False, True)]
    assert min(drawn.values()) > 70
    # A resumed epoch goes on with the same orientations, another epoch has others.
    assert list(trainer._chances(0, 790))[3][1:] == list(trainer._chances(0, 0))[793][1:]
    assert Counter((chance.turns, chance.flip) for chance in trainer._chances(1, 0)) != drawn


def test_snapshots_start_dense_and_end_with_the_last_epoch():
    assert snapshot_epochs(100, 5) == [0, 6, 25, 56, 100]
    assert snapshot_epochs(2, 20) == [0, 1, 2]
    assert snapshot_epochs(7, 1) == [0, 7]


def test_weights_tell_what_they_were_trained_on(data):
    infos = []
    for k, kernel in enumerate(("B40f", "B30f")):
        infos.append(data / f"info_{k}.json")
        infos[-1].write_text(json.dumps({"kernel": kernel, "spacing_mm": [0.7, 0.7 + k], "kvp": 120.0}))
    outputs = train(data, infos=infos)
    _, description = load_network(outputs["weights"])
    facts = description["training_data"]
    assert (facts["series"], facts["patches"], facts["patch_px"], facts["pixels"]) == (2, 13, [24, 24], 13 * 24 * 24)
    assert (facts["kernels"], facts["spacing_mm"], facts["kvp"]) == (["B30f", "B40f"], [0.7, 1.7], [120.0])
    # Noise of 80 HU on stripes, whose rows are all alike: the diagonal coefficients, about 1200, hold nothing else.
    assert facts["noise_hu"] == [pytest.approx(80, rel=0.12)] * 2
    _, description = load_network(train(data, "without")["weights"])
    assert description["training_data"] == facts | {"kernels": [], "spacing_mm": None, "kvp": []}


def test_with_a_split_the_preview_is_a_held_out_slice(data):
    (data / "info.json").write_text(json.dumps({"z_mm": [0.0, 3.0, 6.0]}))
    split = {"preview_info": data / "info.json", "split": {"every": 3}}
    with np.load(train(data, **split)["snapshots"]) as snapshots:
        np.testing.assert_array_equal(snapshots["noisy"], np.load(data / "noisy.npy")[0])
        np.testing.assert_array_equal(snapshots["clean"], np.load(data / "clean.npy")[0])
    with pytest.raises(UserError, match=r"preview\.slice is 1, but the key split .* holds out: 0\."):
        train(data, preview_slice=1, **split)
    with pytest.raises(UserError, match=r"none of the 3 slices of .*info\.json for testing"):
        train(data, preview_info=data / "info.json", split={"every": 9, "offset_mm": 9.0})
