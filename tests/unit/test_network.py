"""Networks: dilated back-propagation, strips, initial weights."""

import numpy as np
import pytest

from quietct.nn.network import STRIP_ROWS, Architecture, Network, Workspace, stop_where_inactive
from quietct.nn.reference import conv2d, conv2d_gradients

ARTICLE = Architecture(((1, 3), (1, 3), (1, 3)))
STACKS = {
    "article": ARTICLE,
    "chen2017_narrow": Architecture(((6, 9), (4, 3), (1, 5))),
    "residual_deep": Architecture(((5, 3), (7, 5), (3, 3), (1, 3)), residual=True),
    "one_layer": Architecture(((1, 3),)),
}


def random_network(architecture, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    network = Network(architecture, dtype)
    network.initialise(rng)
    for _, bias in network.layers:
        bias += 0.1 * rng.standard_normal(bias.shape)
    return network, rng


def dilated_gradient_by_the_formula(network, images, delta, dilation):
    """The rule of dilated back-propagation written down once more, on plain arrays, with the naive convolution."""
    inputs = [images]
    sums = []
    for weights, bias in network.layers:
        sums.append(conv2d(inputs[-1], weights, bias))
        inputs.append(np.maximum(sums[-1], 0))
    deltas = {len(sums): delta}
    for k in range(len(sums), 1, -1):
        skipping = sum(deltas[j].mean(axis=1, keepdims=True) for j in range(k + 1, len(sums) + 1))
        handed_on = deltas[k] + dilation * skipping
        back, _, _ = conv2d_gradients(inputs[k - 1], network.layers[k - 1][0], handed_on)
        deltas[k - 1] = back * (sums[k - 2] > 0)
    gradients = []
    for k, (weights, _) in enumerate(network.layers, start=1):
        _, of_weights, of_bias = conv2d_gradients(inputs[k - 1], weights, deltas[k])
        gradients += [of_weights.ravel(), of_bias]
    return np.concatenate(gradients)


@pytest.mark.parametrize("dilation", [0.05, 1.5])
@pytest.mark.parametrize("name", STACKS)
def test_dilated_back_propagation_equals_its_formula(name, dilation):
    network, rng = random_network(STACKS[name])
    images, delta = rng.standard_normal((2, 2, 1, 8, 7))
    workspace = Workspace(network, 2, 8, 7)
    workspace.forward(images)
    gradient = workspace.backward(delta, dilation)
    np.testing.assert_allclose(gradient, dilated_gradient_by_the_formula(network, images, delta, dilation), atol=1e-10)


def test_article_rule_layer_1_receives_the_delta_of_2_plus_lambda_times_that_of_3():
    """Three layers, one channel: what mission and article say, spelled out."""
    network, rng = random_network(ARTICLE, seed=3)
    images, delta_3 = rng.standard_normal((2, 1, 1, 6, 6))
    (w1, b1), (w2, b2), (w3, _) = network.layers
    z1 = conv2d(images, w1, b1)
    z2 = conv2d(np.maximum(z1, 0), w2, b2)
    delta_2 = conv2d_gradients(z2, w3, delta_3)[0] * (z2 > 0)
    delta_1 = conv2d_gradients(z1, w2, delta_2 + 0.05 * delta_3)[0] * (z1 > 0)
    workspace = Workspace(network, 1, 6, 6)
    workspace.forward(images)
    of_layer = network.split(workspace.backward(delta_3, 0.05))
    np.testing.assert_allclose(of_layer[0][0], conv2d_gradients(images, w1, delta_1)[1], atol=1e-12)
    np.testing.assert_allclose(of_layer[1][0], conv2d_gradients(np.maximum(z1, 0), w2, delta_2)[1], atol=1e-12)
    np.testing.assert_allclose(of_layer[2][0], conv2d_gradients(np.maximum(z2, 0), w3, delta_3)[1], atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_stops_exactly_where_the_relu_is_inactive(dtype):
    activation = np.array([0.0, 1e-40, 1.0, 3e38, 0.0], dtype)
    delta = np.array([1.0, -2.0, 3.0, -4.0, np.inf], dtype)
    stop_where_inactive(delta, activation)
    np.testing.assert_array_equal(delta, np.array([0.0, -2.0, 3.0, -4.0, 0.0], dtype))


@pytest.mark.parametrize("rows", [5, STRIP_ROWS, 2 * STRIP_ROWS + 3])
def test_strips_equal_the_whole_image_bit_for_bit(rows):
    network, rng = random_network(Architecture(((8, 9), (6, 3), (1, 5)), residual=True), np.float32)
    image = rng.standard_normal((rows, 40), dtype=np.float32)
    np.testing.assert_array_equal(network.apply_in_strips(image), network.apply(image[None, None])[0, 0])


def test_initial_weights_have_the_stated_spread():
    network = Network(Architecture(((64, 9), (32, 3), (1, 5))))
    network.initialise(np.random.default_rng(0))
    for weights, bias in network.layers:
        assert weights.std() == pytest.approx(np.sqrt(2 / weights[0].size), rel=0.05)
        assert not bias.any()
    spread = network.layers[1][0].std()
    network.initialise(np.random.default_rng(0), gain=0.4)
    assert network.layers[1][0].std() == pytest.approx(0.4 * spread, rel=1e-5)
    network.initialise(np.random.default_rng(0), "normal", std=0.001)
    assert network.layers[1][0].std() == pytest.approx(0.001, rel=0.05)
