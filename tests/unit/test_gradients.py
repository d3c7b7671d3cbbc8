"""Gradients of batches: right, and the same to the last bit however the work is shared out."""

import os
import threading

import numpy as np
import pytest

from quietct.nn import gradients
from quietct.nn.gradients import BatchGradient, orient
from quietct.nn.losses import SquaredError
from quietct.nn.network import Architecture, Network, Workspace

MEAN = {"kind": "mean_squared_error"}
SQUARED = {"kind": "squared_error", "scale": 0.25, "gradient_scale": 0.5}
SHAPE = (10, 12)
SETUPS = [(1, ""), (2, "processes"), (3, "processes"), (5, "processes"), (2, "threads"), (3, "threads")]


STACKS = {
    "article": {"layers": 3 * [{"filters": 1, "kernel": 3}]},
    "residual": {
        "layers": [{"filters": 6, "kernel": 5}, {"filters": 4, "kernel": 3}, {"filters": 1, "kernel": 3}],
        "residual": True,
    },
    "wide_first_kernel": {"layers": [{"filters": 6, "kernel": 9}, {"filters": 1, "kernel": 5}]},
    "one_layer": {"layers": [{"filters": 1, "kernel": 3}]},
    "shortcut": {
        "layers": [
            {"filters": 3, "kernel": 3, "padding": "valid"},
            {"filters": 3, "kernel": 5},
            {"filters": 1, "kernel": 3, "padding": "full"},
        ],
        "residual": True,
    },
}


def random_network(dtype=np.float32, stack="residual"):
    network = Network(Architecture.from_config(STACKS[stack]), dtype)
    network.initialise(np.random.default_rng(0))
    for _, bias in network.layers:
        bias += 0.1 * np.random.default_rng(1).standard_normal(bias.shape)
    return network


@pytest.fixture(scope="module")
def images():
    """Noisy and clean, float64."""
    return np.random.default_rng(1).standard_normal((2, 20, 1, *SHAPE))


@pytest.fixture
def batch(images):
    return lambda indices: (images[0, indices], images[1, indices])


@pytest.fixture(params=["three_samples", "strips", "few_shares"])
def small_micro_batches(request, monkeypatch):
    """At most three samples at a time, or strips of half a sample, or several micro-batches in a share."""
    pixels = SHAPE[0] * SHAPE[1]
    monkeypatch.setattr(gradients, "TOGETHER", 3 * pixels)
    if request.param == "strips":
        monkeypatch.setattr(gradients, "LARGEST_IMAGE", pixels // 2)
    if request.param == "few_shares":
        monkeypatch.setattr(gradients, "SHARES", 3)


@pytest.mark.parametrize("loss", [MEAN, SQUARED], ids=lambda loss: loss["kind"])
@pytest.mark.parametrize("stack", STACKS)
def test_gradient_of_the_loss_equals_finite_differences(stack, loss, batch, small_micro_batches):
    network, indices = random_network(np.float64, stack), np.array([3, 4, 8, 9, 15])
    with BatchGradient(network, loss, batch, SHAPE, 5) as batch_gradient:
        _, gradient = batch_gradient(indices)
        for i in np.random.default_rng(2).choice(gradient.size, min(40, gradient.size), replace=False):
            value, step = network.parameters[i], 1e-6
            network.parameters[i] = value + step
            above, _ = batch_gradient(indices)
            network.parameters[i] = value - step
            below, _ = batch_gradient(indices)
            network.parameters[i] = value
            assert gradient[i] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-6)


def covered(shares, samples, rows):
    """How often each row of each sample occurs."""
    counts = np.zeros((samples, rows), int)
    for part in (part for share in shares for part in share):
        counts[part.samples, part.strip.start : part.strip.stop] += 1
    return counts


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 8, 9, 16, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("side", [8, 33, 64, 128, 256, 512, 700])
def test_shares_hold_each_row_of_each_sample_once(samples, side):
    shares = gradients.share_out(samples, side, side, Architecture.from_config(STACKS["residual"]))
    np.testing.assert_array_equal(covered(shares, samples, side), 1)
    assert len(shares) <= gradients.SHARES
    for part in (part for share in shares for part in share):
        count = part.samples.stop - part.samples.start
        assert count * side * side <= gradients.TOGETHER or count == 1
        assert (part.strip.stop - part.strip.start) * side <= gradients.LARGEST_IMAGE + side


@pytest.mark.parametrize("workers", [2, 4, 8])
@pytest.mark.parametrize(("samples", "side"), [(8, 64), (16, 64), (32, 64), (64, 33), (8, 256)])
def test_usual_batches_give_all_workers_the_same_work(samples, side, workers):
    shares = gradients.share_out(samples, side, side, Architecture.from_config(STACKS["residual"]))
    work = [covered(shares[worker::workers], samples, side).sum() for worker in range(workers)]
    assert max(work) <= 1.1 * min(work)


def test_scaled_down_gradient_of_the_article_is_a_quarter_of_the_true_one(images, batch):
    network, indices = random_network(np.float64), np.arange(4)
    with BatchGradient(network, SQUARED | {"gradient_scale": 0.125}, batch, SHAPE, 4) as batch_gradient:
        loss, scaled = batch_gradient(indices)
    with BatchGradient(network, SQUARED, batch, SHAPE, 4) as batch_gradient:
        _, true = batch_gradient(indices)
    noisy, clean = images[:, :4]
    assert loss == pytest.approx(0.25 * np.sum((network.apply(noisy) - clean) ** 2))
    np.testing.assert_allclose(scaled, true / 4)


@pytest.mark.parametrize("loss", [MEAN, SQUARED], ids=lambda loss: loss["kind"])
@pytest.mark.parametrize(("threads", "kind"), SETUPS)
def test_micro_batches_add_up_to_the_whole_batch(loss, threads, kind, images, batch, small_micro_batches):
    network, dilation = random_network(np.float64), 0.05
    workspace = Workspace(network, 20, *SHAPE)
    value, delta = SquaredError.from_config(loss, images[1].size).value_and_gradient(
        workspace.forward(images[0]), images[1]
    )
    whole = workspace.backward(delta, dilation)
    with BatchGradient(network, loss, batch, SHAPE, 20, threads, kind) as batch_gradient:
        summed_loss, summed = batch_gradient(np.arange(20), dilation)
    assert summed_loss == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(summed, whole, rtol=1e-9, atol=1e-12)


@pytest.fixture
def steps(batch, small_micro_batches):
    """Take some steps; return the bytes of all losses and gradients."""

    def take(threads, kind):
        network, results = random_network(), []
        with BatchGradient(network, MEAN, batch, SHAPE, 20, threads, kind) as batch_gradient:
            for k, size in enumerate((11, 20, 1, 13)):
                loss, gradient = batch_gradient(np.arange(size), 0.05 * k, turns=k, flip=k % 2 == 1)
                network.parameters -= np.float32(0.1) * gradient  # workers must see the new weights
                results += [loss, gradient.tobytes()]
        return results

    return take


@pytest.mark.parametrize(("threads", "kind"), SETUPS[1:])
def test_gradients_are_the_same_to_the_last_bit_for_any_number_and_kind_of_workers(threads, kind, steps):
    assert steps(threads, kind) == steps(1, "")


def test_a_gradient_does_not_depend_on_the_batches_before(batch, small_micro_batches):
    with BatchGradient(random_network(), MEAN, batch, SHAPE, 20, 2) as batch_gradient:
        fresh = batch_gradient(np.arange(11))
        batch_gradient(np.arange(20), 0.05, turns=2, flip=True)
        batch_gradient(np.arange(2))
        again = batch_gradient(np.arange(11))
    assert again[0] == fresh[0]
    np.testing.assert_array_equal(again[1], fresh[1])


def test_a_gradient_is_not_overwritten_by_the_next(batch):
    network = random_network()
    with BatchGradient(network, MEAN, batch, SHAPE, 4) as batch_gradient:
        _, first = batch_gradient(np.arange(4))
        kept = first.copy()
        batch_gradient(np.arange(4, 8))
    np.testing.assert_array_equal(first, kept)


def test_each_worker_reads_its_own_micro_batches(batch, monkeypatch):
    monkeypatch.setattr(gradients, "TOGETHER", 3 * SHAPE[0] * SHAPE[1])
    monkeypatch.setattr(gradients, "SHARES", 5)
    read = gradients.shared_array((20,), np.int64)

    def recorded(indices):
        read[indices] = os.getpid()
        return batch(indices)

    with BatchGradient(random_network(), MEAN, recorded, SHAPE, 20, 3, "processes") as batch_gradient:
        batch_gradient(np.arange(20))
        shares = gradients.share_out(20, *SHAPE, batch_gradient.network.architecture)
    owners = [set(read[share[0].samples.start : share[-1].samples.stop].tolist()) for share in shares]
    first, second, third = owners[:3]
    assert first == {os.getpid()}
    assert len(first | second | third) == 3
    assert owners == [first, second, third, first, second]


def test_no_more_workers_than_micro_batches_are_started(batch):
    before = threading.active_count()
    with BatchGradient(random_network(), MEAN, batch, SHAPE, 4, 5, "threads"):
        assert threading.active_count() == before


def test_a_patch_larger_than_a_micro_batch_is_taken_alone(batch, monkeypatch):
    network = random_network(np.float64)
    with BatchGradient(network, MEAN, batch, SHAPE, 4) as batch_gradient:
        _, together = batch_gradient(np.arange(4))
    monkeypatch.setattr(gradients, "TOGETHER", 1)
    with BatchGradient(network, MEAN, batch, SHAPE, 4, 2) as batch_gradient:
        _, alone = batch_gradient(np.arange(4))
    np.testing.assert_allclose(alone, together, rtol=1e-9, atol=1e-12)


ORIENTATIONS = [(turns, flip) for turns in range(4) for flip in (False, True)]


@pytest.mark.parametrize(("turns", "flip"), ORIENTATIONS)
def test_orientations_are_those_of_numpy(turns, flip):
    image = np.arange(24.0).reshape(2, 3, 4)
    turned = np.rot90(image, turns, axes=(1, 2))
    np.testing.assert_array_equal(orient(image, turns, flip), np.flip(turned, axis=2) if flip else turned)


def test_orientations_are_eight_different_ones():
    image = np.arange(9.0).reshape(1, 1, 3, 3)
    assert len({orient(image, turns, flip).tobytes() for turns, flip in ORIENTATIONS}) == 8


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize(("turns", "flip"), ORIENTATIONS)
def test_oriented_batches_give_the_gradient_of_oriented_images(turns, flip, stack, images, batch):
    """Also of images that are not square, and of dilated back-propagation."""
    network, indices = random_network(np.float64, stack), np.arange(3)
    turned = np.array([[orient(image, turns, flip) for image in some] for some in images])
    with BatchGradient(network, MEAN, batch, SHAPE, 3, 2) as batch_gradient:
        loss, gradient = batch_gradient(indices, 0.3, turns, flip)
    with BatchGradient(network, MEAN, lambda some: turned[:, some], turned.shape[3:], 3) as batch_gradient:
        expected_loss, expected = batch_gradient(indices, 0.3)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_overflow_shows_in_the_loss_and_not_as_a_warning(kind, batch, small_micro_batches):
    network = random_network()
    network.parameters *= np.float32(1e20)
    with BatchGradient(network, MEAN, batch, SHAPE, 20, 2, kind) as batch_gradient:
        loss, _ = batch_gradient(np.arange(20))
    assert not np.isfinite(loss)


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_an_error_while_reading_reaches_the_caller(kind, batch, small_micro_batches):
    def broken(indices):
        if 4 in indices:
            raise OSError("the disk is gone")
        return batch(indices)

    with (
        BatchGradient(random_network(), MEAN, broken, SHAPE, 20, 2, kind) as batch_gradient,
        pytest.raises(OSError, match="the disk is gone"),
    ):
        batch_gradient(np.arange(20))
