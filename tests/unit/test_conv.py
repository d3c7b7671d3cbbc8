"""The fast convolution against its definition, finite differences and PyTorch."""

import numpy as np
import pytest

from quietct.nn import conv, reference
from quietct.nn.canvas import Geometry

# (samples, in_channels, out_channels, rows, columns, height, width): each way of computing is met by several.
SHAPES = {
    "article": (4, 1, 1, 12, 12, 3, 3),
    "chen_layer_1": (2, 1, 64, 11, 13, 9, 9),
    "chen_layer_2": (3, 64, 32, 10, 8, 3, 3),
    "chen_layer_3": (2, 32, 1, 20, 9, 5, 5),
    "more_rows_than_a_block": (1, 12, 20, 37, 6, 3, 3),
    "even_kernel": (2, 20, 20, 9, 7, 4, 2),
    "even_kernel_thin": (2, 2, 3, 9, 7, 2, 4),
    "tall_kernel": (1, 20, 20, 12, 6, 5, 1),
    "one_pixel_kernel": (2, 40, 40, 5, 5, 1, 1),
    "kernel_larger_than_image": (2, 1, 3, 4, 5, 9, 9),
}
CASES = [
    pytest.param(shape, padding, id=f"{name}-{padding}")
    for name, shape in SHAPES.items()
    for padding in ("same", "valid")
    if padding == "same" or (shape[3] >= shape[5] and shape[4] >= shape[6])
]


def random_layer(shape, padding, dtype=np.float64):
    samples, channels, filters, rows, columns, height, width = shape
    rng = np.random.default_rng(7)
    x = rng.standard_normal((samples, channels, rows, columns)).astype(dtype)
    weights = rng.standard_normal((filters, channels, height, width)).astype(dtype)
    bias = rng.standard_normal(filters).astype(dtype)
    if padding == "valid":
        rows, columns = rows - height + 1, columns - width + 1
    return x, weights, bias, rng.standard_normal((samples, filters, rows, columns)).astype(dtype)


def assert_close(value, truth, tolerance):
    assert value.shape == truth.shape
    assert np.abs(value - truth).max() <= tolerance * max(1, np.abs(truth).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 3e-6)])
@pytest.mark.parametrize(("shape", "padding"), CASES)
def test_forward_and_gradients_equal_the_definition(shape, padding, dtype, tolerance):
    x, weights, bias, delta = random_layer(shape, padding, dtype)
    y = conv.conv2d(x, weights, bias, padding)
    assert y.dtype == dtype
    assert_close(y, reference.conv2d(x, weights, bias, padding), tolerance)
    for value, truth in zip(
        conv.conv2d_gradients(x, weights, delta, padding),
        reference.conv2d_gradients(x, weights, delta, padding),
        strict=True,
    ):
        assert value.dtype == dtype
        assert_close(value, truth, 10 * tolerance)


@pytest.mark.parametrize(("shape", "padding"), CASES)
def test_gradients_equal_finite_differences(shape, padding):
    """Σ delta · conv2d is linear in each argument, so central differences are exact but for rounding."""
    x, weights, bias, delta = random_layer(shape, padding)
    rng = np.random.default_rng(1)
    for array, gradient in zip((x, weights, bias), conv.conv2d_gradients(x, weights, delta, padding), strict=True):
        direction = rng.standard_normal(array.shape)
        array += direction
        above = np.sum(delta * conv.conv2d(x, weights, bias, padding))
        array -= 2 * direction
        below = np.sum(delta * conv.conv2d(x, weights, bias, padding))
        array += direction
        assert np.sum(gradient * direction) == pytest.approx((above - below) / 2, rel=1e-9, abs=1e-9)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("shape", "padding"), CASES)
def test_forward_and_gradients_equal_pytorch(shape, padding):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")
    x, weights, bias, delta = random_layer(shape, padding)
    tensors = [torch.from_numpy(array).requires_grad_() for array in (x, weights, bias)]
    y = torch.nn.functional.conv2d(*tensors, padding=padding)
    y.backward(torch.from_numpy(delta))
    assert_close(conv.conv2d(x, weights, bias, padding), y.detach().numpy(), 1e-12)
    for value, tensor in zip(conv.conv2d_gradients(x, weights, delta, padding), tensors, strict=True):
        assert_close(value, tensor.grad.numpy(), 1e-12)


def test_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="'same' or 'valid', not 'reflect'"):
        conv.conv2d(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 3, 3)), np.zeros(1), "reflect")


def test_weights_for_another_number_of_channels_are_refused():
    with pytest.raises(ValueError, match="2 channels"):
        conv.conv2d(np.zeros((1, 2, 4, 4)), np.zeros((1, 3, 3, 3)), np.zeros(1))


def test_valid_refuses_a_kernel_larger_than_the_image():
    with pytest.raises(ValueError, match="kernel of 5 pixels"):
        conv.conv2d(np.zeros((1, 1, 4, 9)), np.zeros((1, 1, 5, 5)), np.zeros(1), "valid")


def test_canvas_keeps_images_apart():
    geometry = Geometry(samples=3, rows=4, columns=5, border=2)
    canvas = geometry.empty(2, np.float32)
    canvas += 1
    images = geometry.images(canvas)
    images[...] = 2
    geometry.clear_gaps(canvas)
    assert images.min() == 2
    assert geometry.interior(canvas).sum() == images.sum()
