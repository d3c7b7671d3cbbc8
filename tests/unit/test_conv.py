"""The fast convolution against its definition, finite differences and PyTorch."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

from quietct.nn.conv import LayerWorkspace, conv2d, conv2d_gradients, reference
from quietct.nn.conv.canvas import MOST_ROWS_TOGETHER, Frame, Region, Scratch
from quietct.nn.conv.direct import Direct
from quietct.nn.conv.gathered import Gathered
from quietct.nn.conv.layer import choose
from quietct.nn.conv.unfolded import Unfolded
from quietct.nn.conv.winograd import ROWS_TOGETHER, Winograd, transforms

# (samples, channels, filters, rows, columns, height, width): each way of computing is met by several.
SHAPES = {
    "article": (4, 1, 1, 12, 12, 3, 3),
    "chen_layer_1": (2, 1, 64, 11, 13, 9, 9),
    "chen_layer_2": (3, 64, 32, 10, 8, 3, 3),
    "chen_layer_3": (2, 32, 1, 20, 9, 5, 5),
    "redcnn": (1, 24, 24, 19, 21, 5, 5),
    "several_bands": (1, 20, 24, 237, 150, 3, 3),
    "even_kernel": (2, 20, 20, 9, 7, 4, 2),
    "even_kernel_thin": (2, 2, 3, 9, 7, 2, 4),
    "tall_kernel": (1, 20, 20, 12, 6, 9, 1),
    "one_pixel_kernel": (2, 40, 40, 5, 5, 1, 1),
    "one_pixel_image": (2, 20, 20, 1, 1, 3, 3),
    "kernel_larger_than_image": (2, 1, 3, 4, 5, 9, 9),
}
PADDINGS = ("same", "valid", "full")
CASES = [
    pytest.param(shape, padding, id=f"{name}-{padding}")
    for name, shape in SHAPES.items()
    for padding in PADDINGS
    if padding != "valid" or (shape[3] >= shape[5] and shape[4] >= shape[6])
]
WAYS = {Direct: range(1, 10), Unfolded: range(1, 10), Gathered: range(1, 10), Winograd: list(ROWS_TOGETHER)}


def random_layer(shape, padding, dtype=np.float64, seed=7):
    samples, channels, filters, rows, columns, height, width = shape
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, channels, rows, columns)).astype(dtype)
    weights = rng.standard_normal((filters, channels, height, width)).astype(dtype)
    bias = rng.standard_normal(filters).astype(dtype)
    grows = {"same": 0, "valid": -1, "full": 1}[padding]
    size = (rows + grows * (height - 1), columns + grows * (width - 1))
    return x, weights, bias, rng.standard_normal((samples, filters, *size)).astype(dtype)


def assert_close(value, truth, tolerance):
    """Compare with the largest value as the scale, as rounding errors of a sum do."""
    assert value.shape == truth.shape
    assert np.abs(value - truth).max() <= tolerance * max(np.abs(truth).max(), 1e-3)


def assert_equals_the_definition(shape, padding, dtype, seed=7):
    """Hold float32 against the definition in float64, so that the definition's own rounding plays no part."""
    layer = random_layer(shape, padding, dtype, seed)
    x, weights, bias, delta = (array.astype(np.float64) for array in layer)
    tolerance = {np.float32: 1e-5, np.float64: 1e-10}[dtype]
    y = conv2d(*layer[:3], padding)
    assert y.dtype == dtype
    assert_close(y, reference.conv2d(x, weights, bias, padding), tolerance)
    values = conv2d_gradients(layer[0], layer[1], layer[3], padding)
    for value, truth in zip(values, reference.conv2d_gradients(x, weights, delta, padding), strict=True):
        assert value.dtype == dtype
        assert_close(value, truth, tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "padding"), CASES)
def test_forward_and_gradients_equal_the_definition(shape, padding, dtype):
    assert_equals_the_definition(shape, padding, dtype)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(
        st.integers(1, 3),
        st.sampled_from([1, 2, 5, 12, 20]),
        st.sampled_from([1, 3, 8, 12, 17]),
        st.integers(1, 14),
        st.integers(1, 14),
        st.integers(1, 9),
        st.integers(1, 9),
    ),
    padding=st.sampled_from(PADDINGS),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32),
)
def test_any_shape_equals_the_definition(shape, padding, dtype, seed):
    assume(padding != "valid" or (shape[5] <= shape[3] and shape[6] <= shape[4]))
    assert_equals_the_definition(shape, padding, dtype, seed)


@pytest.mark.parametrize(("way", "height"), [(way, height) for way, heights in WAYS.items() for height in heights])
def test_every_way_computes_every_shape_that_it_may_get(way, height):
    """Also shapes for which `choose` prefers another way."""
    rng = np.random.default_rng(height)
    for filters, channels, width in ((1, 1, 3), (3, 2, 4), (12, 16, 3), (2, 20, 1)):
        frame = Frame(2, 11, 9, border=max(height, width) // 2)
        weights = rng.standard_normal((filters, channels, height, width))
        images = rng.standard_normal((2, channels, 11, 9))
        x, delta, out = frame.empty(channels, float), frame.empty(filters, float), frame.empty(filters, float)
        frame.images(x, frame.whole)[...] = images
        frame.images(delta, frame.whole)[...] = rng.standard_normal((2, filters, 11, 9))
        computed = way(frame, weights.shape, ((height - 1) // 2, (width - 1) // 2), Scratch(float))
        for rows, block in computed.slide(x, weights, frame.whole.row_range):
            frame.body(out, rows)[...] = block
        truth = reference.conv2d(images, weights, np.zeros(filters))
        assert_close(frame.images(out, frame.whole), truth, 1e-12)
        _, truth, _ = reference.conv2d_gradients(images, weights, frame.images(delta, frame.whole))
        assert_close(computed.weight_gradient(x, delta, frame.whole.row_range), truth, 1e-12)


@pytest.mark.parametrize(("shape", "padding"), CASES)
def test_gradients_equal_finite_differences(shape, padding):
    """Σ delta · conv2d is linear in each argument, so central differences are exact but for rounding."""
    x, weights, bias, delta = random_layer(shape, padding)
    rng = np.random.default_rng(1)
    for array, gradient in zip((x, weights, bias), conv2d_gradients(x, weights, delta, padding), strict=True):
        direction = rng.standard_normal(array.shape)
        array += direction
        above = np.sum(delta * conv2d(x, weights, bias, padding))
        array -= 2 * direction
        below = np.sum(delta * conv2d(x, weights, bias, padding))
        array += direction
        scale = np.abs(delta).sum() * np.abs(direction).max()
        assert np.sum(gradient * direction) == pytest.approx((above - below) / 2, rel=1e-9, abs=1e-12 * scale)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("shape", "padding"), CASES)
def test_forward_and_gradients_equal_pytorch(shape, padding):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")
    x, weights, bias, delta = random_layer(shape, padding)
    tensors = [torch.from_numpy(array).requires_grad_() for array in (x, weights, bias)]
    if padding == "full":  # PyTorch has it as the transposed convolution, its kernel turned and its axes swapped
        turned = tensors[1].flip(2, 3).transpose(0, 1)
        y = torch.nn.functional.conv_transpose2d(tensors[0], turned, tensors[2])
    else:
        y = torch.nn.functional.conv2d(*tensors, padding=padding)
    y.backward(torch.from_numpy(delta))
    assert_close(conv2d(x, weights, bias, padding), y.detach().numpy(), 1e-12)
    for value, tensor in zip(conv2d_gradients(x, weights, delta, padding), tensors, strict=True):
        assert_close(value, tensor.grad.numpy(), 1e-12)


@pytest.mark.parametrize("height", ROWS_TOGETHER)
def test_transforms_multiply_fewer_times_and_give_the_same_sums(height):
    rows = ROWS_TOGETHER[height]
    to_result, of_weights, of_image = transforms(rows, height)
    assert len(of_image) == rows + height - 1 < rows * height
    rng = np.random.default_rng(0)
    image, weights = rng.standard_normal(rows + height - 1), rng.standard_normal(height)
    result = to_result @ ((of_weights @ weights) * (of_image @ image))
    np.testing.assert_allclose(result, np.correlate(image, weights, "valid"), rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "way"),
    [
        ((64, 1, 9, 9), Unfolded),  # chen2017
        ((32, 64, 3, 3), Winograd),
        ((1, 32, 5, 5), Gathered),
        ((96, 96, 5, 5), Winograd),  # RED-CNN
        ((1, 1, 3, 3), Unfolded),  # the article
        ((16, 1, 5, 5), Unfolded),  # fewer channels than filters
        ((2, 4, 5, 5), Gathered),  # fewer filters than channels
        ((16, 16, 3, 3), Direct),
        ((40, 40, 1, 1), Direct),
        ((20, 20, 9, 9), Direct),  # too tall for Winograd's precision
    ],
)
def test_way_fits_the_shape(shape, way):
    assert choose(shape) is way


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", ["article", "chen_layer_1", "chen_layer_2", "chen_layer_3", "redcnn", "even_kernel"])
def test_workspace_leaks_nothing_from_one_call_into_the_next(name, padding):
    shape = SHAPES[name]
    x, weights, bias, delta = random_layer(shape, padding, np.float32)
    samples, channels, _, rows, columns, *_ = shape
    fresh = LayerWorkspace(samples, channels, rows, columns, weights.shape, padding)
    expected = fresh.forward(x, weights, bias), *fresh.backward(delta, weights)
    poisoned = LayerWorkspace(samples, channels, rows, columns, weights.shape, padding)
    with np.errstate(invalid="ignore"):
        poisoned.forward(np.full_like(x, np.nan), weights, bias)
        poisoned.backward(np.full_like(delta, np.inf), weights)
    for array in poisoned.convolution.forward_way.scratch.arrays.values():
        array[...] = np.nan
    result = poisoned.forward(x, weights, bias), *poisoned.backward(delta, weights)
    for value, truth in zip(result, expected, strict=True):
        np.testing.assert_array_equal(value, truth)


@pytest.mark.parametrize("padding", PADDINGS)
def test_results_go_where_they_are_wanted(padding):
    x, weights, bias, delta = random_layer(SHAPES["even_kernel"], padding)
    workspace = LayerWorkspace(*x.shape, weights.shape, padding, x.dtype)
    y, x_gradient = np.full_like(delta, np.nan), np.full_like(x, np.nan)
    assert workspace.forward(x, weights, bias, out=y) is y
    assert workspace.backward(delta, weights, out=x_gradient)[0] is x_gradient
    np.testing.assert_array_equal(y, conv2d(x, weights, bias, padding))
    np.testing.assert_array_equal(x_gradient, conv2d_gradients(x, weights, delta, padding)[0])
    with pytest.raises(ValueError, match=r"out must have shape .*, not \(1, 1\)"):
        workspace.forward(x, weights, bias, out=np.zeros((1, 1)))


def test_memory_order_and_strides_do_not_matter():
    x, weights, bias, delta = random_layer(SHAPES["redcnn"], "same", np.float32)
    odd = np.repeat(x.transpose(0, 2, 3, 1), 2, axis=1)[:, ::2].transpose(0, 3, 1, 2)
    assert not odd.flags.c_contiguous
    np.testing.assert_array_equal(conv2d(odd, weights[...], bias), conv2d(x, weights, bias))
    fortran = np.asfortranarray(weights)
    for value, truth in zip(
        conv2d_gradients(odd, fortran, np.asfortranarray(delta)), conv2d_gradients(x, weights, delta), strict=True
    ):
        np.testing.assert_array_equal(value, truth)


def test_arguments_are_left_as_they_were():
    arrays = random_layer(SHAPES["redcnn"], "same", np.float32)
    copies = [array.copy() for array in arrays]
    x, weights, bias, delta = arrays
    conv2d(x, weights, bias)
    conv2d_gradients(x, weights, delta)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", ["chen_layer_1", "chen_layer_2", "chen_layer_3"])
def test_what_is_not_a_number_stays_in_its_image_and_near_its_place(name):
    shape = (3, *SHAPES[name][1:3], 40, 30, *SHAPES[name][5:])
    x, weights, bias, _ = random_layer(shape, "same", np.float32)
    clean = conv2d(x, weights, bias)
    x[1, :, 20, 15] = np.nan
    with np.errstate(invalid="ignore"):
        y = conv2d(x, weights, bias)
    half = shape[5] // 2
    assert np.isnan(y[1, :, 20 - half : 21 + half, 15 - half : 16 + half]).all()
    near = np.zeros(y.shape, bool)
    spread = half + MOST_ROWS_TOGETHER - 1
    near[1, :, 20 - spread : 21 + spread, 15 - half : 16 + half] = True
    np.testing.assert_allclose(y[~near], clean[~near], rtol=1e-5, atol=1e-5)


def test_bias_may_be_left_out():
    x, weights, bias, _ = random_layer(SHAPES["article"], "same")
    np.testing.assert_allclose(conv2d(x, weights), conv2d(x, weights, 0 * bias))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding": "reflect"}, "one of same, valid, full, not 'reflect'"),
        ({"x": np.zeros((4, 4))}, r"images must have shape \(samples, channels, rows, columns\), not \(4, 4\)"),
        ({"x": np.zeros((0, 2, 4, 4))}, r"images of shape \(0, 2, 4, 4\) have no pixels"),
        ({"x": np.zeros((1, 3, 4, 4))}, r"weights of shape \(5, 2, 3, 3\) do not fit images with 3 channels"),
        ({"weights": np.zeros((5, 2, 3))}, r"weights must have shape .*, not \(5, 2, 3\)"),
        ({"weights": np.zeros((5, 2, 0, 3))}, r"weights must have shape .*, not \(5, 2, 0, 3\)"),
        ({"weights": np.zeros((5, 2, 3, 3), np.float32)}, "weights of shape .* must be float64, not float32"),
        ({"x": np.zeros((1, 2, 4, 4), int)}, "must be float32 or float64, not int64"),
        ({"x": np.zeros((1, 2, 4, 4), complex)}, "must be float32 or float64, not complex128"),
        ({"bias": np.zeros(4)}, r"bias must have shape \(5,\), not \(4,\)"),
        ({"weights": np.zeros((5, 2, 3, 5)), "padding": "valid"}, "a kernel of 3 x 5 pixels does not fit .* 4 x 4"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_what_was_received(change, message):
    arguments = {"x": np.zeros((1, 2, 4, 4)), "weights": np.zeros((5, 2, 3, 3)), "bias": np.zeros(5)} | change
    with pytest.raises(ValueError, match=message):
        conv2d(**arguments)


def test_delta_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"delta must have shape \(1, 5, 2, 2\), not \(1, 5, 4, 4\)"):
        conv2d_gradients(np.zeros((1, 2, 4, 4)), np.zeros((5, 2, 3, 3)), np.zeros((1, 5, 4, 4)), "valid")


def test_canvas_keeps_images_apart():
    frame, region = Frame(samples=3, rows=6, columns=7, border=2), Region(1, 1, 4, 5)
    canvas, rng = frame.empty(2, np.float32), np.random.default_rng(0)
    block = rng.random((3, 2, frame.width), dtype=np.float32)
    for row in region.top, region.top + 1:  # some rows, then others
        frame.deal(block, slice(row, row + 3), region, frame.images(canvas, region))
    assert frame.images(canvas, region).min() > 0
    assert np.count_nonzero(canvas) == 3 * 2 * 4 * 5
    columns = frame.pixel_columns(region)
    np.testing.assert_array_equal(frame.body(canvas, slice(2, 5))[..., columns], block[..., columns])
    assert columns.sum() == 3 * 5


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("columns", [1, 33, 64, 100, 256, 511, 512])
def test_tiles_divide_the_computed_columns(samples, columns):
    frame = Frame(samples, 8, columns, border=4)
    span = samples * (columns + 4) - 4
    assert span <= frame.width <= 1.25 * span + 16
    for multiplications in (1, 1000, 6000, 10**5):
        assert frame.width % frame.tile(multiplications) == 0
