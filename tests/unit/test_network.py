"""Networks: gradients, dilated back-propagation, shortcuts, tiles."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quietct.errors import UserError
from quietct.nn.architecture import Architecture
from quietct.nn.conv.reference import conv2d, conv2d_gradients
from quietct.nn.inference import TiledInference
from quietct.nn.network import Network, Workspace


def stack(*layers, residual=False):
    """Describe a network: (filters, kernel) or (filters, kernel, further keys) per layer."""
    entries = [{"filters": layer[0], "kernel": layer[1], **dict(*layer[2:])} for layer in layers]
    return Architecture.from_config({"layers": entries, "residual": residual})


VALID, FULL = {"padding": "valid"}, {"padding": "full"}
ARTICLE = stack((1, 3), (1, 3), (1, 3))
NETWORKS = {
    "article": ARTICLE,
    "chen2017_narrow": stack((6, 9), (4, 3), (1, 5)),
    "residual_deep": stack((5, 3), (7, 5), (3, 3), (1, 3), residual=True),
    "one_layer": stack((1, 3)),
    "dncnn_narrow": stack(*[(12, 3)] * 4, (1, 3), residual=True),
    "redcnn_narrow": stack(
        (3, 5, VALID),
        (3, 5, VALID),
        (3, 5, VALID),
        (3, 5, FULL | {"add": 2}),
        (3, 5, FULL),
        (1, 5, FULL | {"add": 0, "relu": True}),
    ),
    "shortcuts": stack((4, 3), (4, 3, {"add": 1}), (4, 5, {"add": 1, "relu": False}), (4, 1, {"add": 2}), (1, 3)),
    "grows_first": stack((2, 3, FULL), (3, 5, VALID | {"relu": False}), (1, 3, FULL)),
}
BY_NAME = pytest.mark.parametrize("name", NETWORKS)


def random_network(architecture, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    network = Network(architecture, dtype)
    network.initialise(rng)
    for _, bias in network.layers:
        bias += 0.1 * rng.standard_normal(bias.shape)
    return network, rng


def forward_by_definition(network, images):
    """Outputs of all layers, the input first, and the sums before the ReLUs, on plain arrays."""
    outputs, sums = [images], [None]
    for layer, (weights, bias) in zip(network.architecture.layers, network.layers, strict=True):
        y = conv2d(outputs[-1], weights, bias, layer.padding)
        if layer.add is not None:
            y = y + outputs[layer.add]
        sums.append(y)
        outputs.append(np.maximum(y, 0) if layer.relu else y)
    return outputs, sums


@BY_NAME
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_output_equals_the_definition(name, dtype, tolerance):
    network, rng = random_network(NETWORKS[name], dtype)
    images = rng.standard_normal((3, 1, 15, 13)).astype(dtype)
    truth = forward_by_definition(network, images.astype(float))[0][-1]
    output = network.apply(images)
    assert output.dtype == dtype
    np.testing.assert_allclose(output, truth, atol=tolerance * np.abs(truth).max())


@BY_NAME
def test_gradient_equals_finite_differences(name):
    network, rng = random_network(NETWORKS[name])
    noisy, delta = rng.standard_normal((2, 3, 1, 15, 14))
    workspace = Workspace(network, 3, 15, 14)
    workspace.forward(noisy)
    gradient = workspace.backward(delta)
    for i in rng.choice(len(gradient), min(40, len(gradient)), replace=False):
        value, step = network.parameters[i], 1e-6
        network.parameters[i] = value + step
        above = np.sum(delta * workspace.forward(noisy))
        network.parameters[i] = value - step
        below = np.sum(delta * workspace.forward(noisy))
        network.parameters[i] = value
        assert gradient[i] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-6)


@BY_NAME
def test_output_and_gradient_equal_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")
    network, rng = random_network(NETWORKS[name])
    images, delta = rng.standard_normal((2, 2, 1, 14, 16))
    tensors = [torch.from_numpy(array.copy()).requires_grad_() for layer in network.layers for array in layer]
    outputs = [torch.from_numpy(images)]
    for k, layer in enumerate(network.architecture.layers):
        weights, bias = tensors[2 * k : 2 * k + 2]
        if layer.padding == "full":
            turned = weights.flip(2, 3).transpose(0, 1)
            y = torch.nn.functional.conv_transpose2d(outputs[-1], turned, bias)
        else:
            y = torch.nn.functional.conv2d(outputs[-1], weights, bias, padding=layer.padding)
        if layer.add is not None:
            y = y + outputs[layer.add]
        outputs.append(torch.relu(y) if layer.relu else y)
    outputs[-1].backward(torch.from_numpy(delta))
    workspace = Workspace(network, 2, 14, 16)
    np.testing.assert_allclose(workspace.forward(images), outputs[-1].detach().numpy(), atol=1e-11)
    truth = np.concatenate([tensor.grad.numpy().ravel() for tensor in tensors])
    np.testing.assert_allclose(workspace.backward(delta), truth, atol=1e-11 * np.abs(truth).max())


def crop(image, size):
    margins = [(have - want) // 2 for have, want in zip(image.shape[2:], size, strict=True)]
    return np.pad(image, [(0, 0), (0, 0), *[(max(-m, 0),) * 2 for m in margins]])[
        :, :, max(margins[0], 0) :, max(margins[1], 0) :
    ][:, :, : size[0], : size[1]]


def dilated_gradient_by_the_formula(network, images, delta, dilation):
    """The rule of dilated back-propagation written down once more, on plain arrays, with the naive convolution."""
    layers = network.architecture.layers
    outputs, sums = forward_by_definition(network, images)
    last = len(layers)
    deltas = {last: delta * (sums[last] > 0 if layers[-1].relu else 1)}
    for k in range(last, 1, -1):
        later = [deltas[j].mean(axis=1, keepdims=True) for j in range(k + 1, last + 1)]
        handed_on = deltas[k] + dilation * sum(crop(mean, deltas[k].shape[2:]) for mean in later)
        back, _, _ = conv2d_gradients(outputs[k - 1], network.layers[k - 1][0], handed_on, layers[k - 1].padding)
        for j, layer in enumerate(layers, start=1):
            if layer.add == k - 1:
                back += deltas[j]
        deltas[k - 1] = back * (sums[k - 1] > 0 if layers[k - 2].relu else 1)
    gradients = []
    for k, (weights, _) in enumerate(network.layers, start=1):
        _, of_weights, of_bias = conv2d_gradients(outputs[k - 1], weights, deltas[k], layers[k - 1].padding)
        gradients += [of_weights.ravel(), of_bias]
    return np.concatenate(gradients)


@BY_NAME
@pytest.mark.parametrize("dilation", [0, 0.05, 1.5])
def test_dilated_back_propagation_equals_its_formula(name, dilation):
    network, rng = random_network(NETWORKS[name])
    images, delta = rng.standard_normal((2, 2, 1, 17, 15))
    workspace = Workspace(network, 2, 17, 15)
    workspace.forward(images)
    truth = dilated_gradient_by_the_formula(network, images, delta, dilation)
    np.testing.assert_allclose(workspace.backward(delta, dilation), truth, atol=1e-11 * np.abs(truth).max())


def test_dilated_back_propagation_of_one_channel_and_three_layers_is_the_rule_of_the_article():
    network, rng = random_network(ARTICLE)
    images, delta = rng.standard_normal((2, 1, 1, 8, 8))
    workspace, dilation = Workspace(network, 1, 8, 8), 0.3
    workspace.forward(images)
    gradient = network.split(workspace.backward(delta, dilation))
    outputs, sums = forward_by_definition(network, images)
    delta_3 = delta
    delta_2 = conv2d_gradients(outputs[2], network.layers[2][0], delta_3)[0] * (sums[2] > 0)
    mixed = delta_2 + dilation * delta_3
    delta_1 = conv2d_gradients(outputs[1], network.layers[1][0], mixed)[0] * (sums[1] > 0)
    _, first_layer, _ = conv2d_gradients(images, network.layers[0][0], delta_1)
    np.testing.assert_allclose(gradient[0][0], first_layer, atol=1e-12)


@BY_NAME
def test_workspace_leaks_nothing_from_one_call_into_the_next(name):
    network, rng = random_network(NETWORKS[name], np.float32)
    images, delta = rng.standard_normal((2, 3, 1, 15, 14), dtype=np.float32)
    fresh = Workspace(network, 3, 15, 14)
    expected = fresh.forward(images), fresh.backward(delta, 0.1)
    poisoned = Workspace(network, 3, 15, 14)
    with np.errstate(invalid="ignore"):
        poisoned.forward(np.full_like(images, np.nan))
        poisoned.backward(np.full_like(delta, np.inf), 0.1)
    for array in poisoned.scratch.arrays.values():
        array[...] = np.nan
    np.testing.assert_array_equal(poisoned.forward(images), expected[0])
    np.testing.assert_array_equal(poisoned.backward(delta, 0.1), expected[1])


@BY_NAME
def test_images_of_a_batch_do_not_mix(name):
    network, rng = random_network(NETWORKS[name], np.float64)
    images = rng.standard_normal((3, 1, 15, 14))
    together = network.apply(images)
    for k in range(3):
        np.testing.assert_allclose(together[k], network.apply(images[k : k + 1])[0], atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(NETWORKS)),
    rows=st.integers(13, 90),
    columns=st.integers(13, 40),
    tile_rows=st.integers(1, 40),
    threads=st.integers(1, 3),
    kind=st.sampled_from(["processes", "threads"]),
)
def test_tiles_equal_the_whole_image_bit_for_bit(name, rows, columns, tile_rows, threads, kind):
    network, rng = random_network(NETWORKS[name], np.float32)
    image = rng.standard_normal((rows, columns), dtype=np.float32)
    with TiledInference(network, rows, columns, threads, tile_pixels=tile_rows * columns, kind=kind) as tiled:
        np.testing.assert_array_equal(tiled(image), network.apply(image[None, None])[0, 0])


def test_tiles_of_a_large_network_equal_the_whole_slice_bit_for_bit():
    network, rng = random_network(stack((64, 9), (32, 3), (1, 5)), np.float32)
    image = rng.standard_normal((300, 512), dtype=np.float32)
    with TiledInference(network, *image.shape, tile_pixels=20000) as tiled:
        assert len(tiled.tiles) > 5
        np.testing.assert_array_equal(tiled(image), network.apply(image[None, None])[0, 0])


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_tiles_use_the_weights_of_the_moment(kind):
    network, rng = random_network(NETWORKS["chen2017_narrow"], np.float32)
    image = rng.standard_normal((40, 30), dtype=np.float32)
    with TiledInference(network, *image.shape, threads=2, kind=kind) as tiled:
        before = tiled(image)
        network.parameters += np.float32(0.1)
        np.testing.assert_array_equal(tiled(image), network.apply(image[None, None])[0, 0])
    assert not np.array_equal(before, network.apply(image[None, None])[0, 0])


def test_memory_of_tiled_inference_does_not_grow_with_the_rows():
    def size(rows):
        with TiledInference(Network(NETWORKS["chen2017_narrow"]), rows, 64, tile_pixels=64 * 64) as tiled:
            tiled(np.zeros((rows, 64), np.float32))
            return sum(canvas.nbytes for workspace in tiled._workspaces.values() for canvas in workspace.activations)

    assert size(64 * 100) == size(64 * 10)


def test_image_of_another_size_is_refused():
    network, _ = random_network(ARTICLE)
    with (
        TiledInference(network, 8, 9) as tiled,
        pytest.raises(ValueError, match=r"must have shape \(8, 9\), not \(9, 8\)"),
    ):
        tiled(np.zeros((9, 8)))
    with pytest.raises(ValueError, match=r"must have shape \(1, 1, 8, 9\), not \(2, 1, 8, 9\)"):
        Workspace(network, 1, 8, 9).forward(np.zeros((2, 1, 8, 9)))


def test_initial_weights_have_the_stated_spread():
    network = Network(stack((64, 9), (32, 3), (1, 5)))
    network.initialise(np.random.default_rng(0))
    for weights, bias in network.layers:
        assert weights.std() == pytest.approx(np.sqrt(2 / weights[0].size), rel=0.05)
        assert not bias.any()
    spread = network.layers[1][0].std()
    network.initialise(np.random.default_rng(0), gain=0.4)
    assert network.layers[1][0].std() == pytest.approx(0.4 * spread, rel=1e-5)
    network.initialise(np.random.default_rng(0), "normal", std=0.001)
    assert network.layers[1][0].std() == pytest.approx(0.001, rel=0.05)


@BY_NAME
def test_architecture_survives_its_description(name):
    assert Architecture.from_config(NETWORKS[name].to_config()) == NETWORKS[name]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "must have one filter"),
        ([(4, 3)], "must have one filter"),
        ([(4, 3, VALID), (1, 3)], "2 pixels smaller than its input; use as many layers with `padding: valid`"),
        ([(4, 5, FULL), (1, 3)], "4 pixels larger than its input"),
        ([(4, 4), (1, 3)], "Layer 1 has a kernel of 4 pixels; it must be odd"),
        ([(4, 3, {"add": 1}), (1, 3)], "Layer 1 adds layer 1; it can add 0, the input, to 0"),
        ([(4, 3, {"add": 0}), (1, 3)], "Layer 1 adds layer 0, which has other channels or another image size"),
        ([(1, 3, VALID | {"add": 0}), (1, 3, FULL)], "which has other channels or another image size"),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(layers, message):
    with pytest.raises(UserError, match=message):
        Architecture.from_config(
            {"layers": [{"filters": layer[0], "kernel": layer[1], **dict(*layer[2:])} for layer in layers]}
        )


def test_images_too_small_for_layers_without_padding_are_refused():
    network, _ = random_network(NETWORKS["redcnn_narrow"])
    with pytest.raises(UserError, match=r"Images of 12 x 20 pixels are too small.*take 12 pixels away"):
        network.apply(np.zeros((1, 1, 12, 20)))
