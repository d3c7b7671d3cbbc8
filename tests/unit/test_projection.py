import warnings

import numpy as np
import pytest
from water import AIR, disc, distance, grid, shoulders

from quietct.ct.low_dose import Scanner, expected_counts, extra_noise
from quietct.ct.projection import (
    MU_WATER_PER_MM,
    back_project,
    inside_circle,
    is_circular,
    project,
    touches_border,
)
from quietct.errors import UserError

SHAPES = [(128, 128), (127, 127), (130, 130), (90, 120), (121, 80)]


@pytest.fixture(autouse=True)
def _no_warnings():
    """scikit-image warns of pixels outside the circle that it leaves out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("bins", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_line_integrals_of_a_disc_are_its_chords(shape, bins):
    """Beside the axis, so that a shift of the geometry by half a pixel would show."""
    row, column, radius, pixel_mm = 7, -12, 25.5, 1.6
    sinogram = project(disc(shape, radius, (row, column)), pixel_mm, views=40, bins=bins)
    angles = np.deg2rad(np.arange(40) * 180 / 40)
    middle = (column * np.cos(angles) - row * np.sin(angles)) * pixel_mm
    from_middle = sinogram.ray_mm[:, None] - middle
    chord = 2 * np.sqrt(np.maximum((radius * pixel_mm) ** 2 - from_middle**2, 0))
    error = sinogram.values - MU_WATER_PER_MM * chord
    smooth = np.abs(np.abs(from_middle) - radius * pixel_mm) > 5 * pixel_mm
    assert np.abs(error[smooth]).max() < 0.025  # of 1.68 along the diameter
    assert abs((error * np.sign(from_middle)).mean()) < 1e-3  # not moved to a side
    assert sinogram.values.dtype == np.float32


@pytest.mark.parametrize("circle", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_slice_comes_back_where_it_was(shape, circle):
    hu = disc(shape, 30) + disc(shape, 4, (11, -17), 1000) - AIR
    image = back_project((sinogram := project(hu, 0.9, views=180, circle=circle)).values, sinogram)
    assert image.shape == shape
    assert image.dtype == np.float32
    weight = np.maximum(image - 1300, 0)
    rows, columns = grid(shape)
    assert (weight * rows).sum() / weight.sum() == pytest.approx(11, abs=0.1)
    assert (weight * columns).sum() / weight.sum() == pytest.approx(-17, abs=0.1)
    assert image[distance(shape, (-10, 10)) < 10].mean() == pytest.approx(1000, abs=10)


def chest(side, pixel_mm):
    """A trunk with two lungs, a spine and soft edges."""
    hu = shoulders(side, pixel_mm, 340, 240)
    for middle in (-80, 80):
        cover = np.clip(60 / pixel_mm - distance((side, side), (0, middle / pixel_mm)) + 0.5, 0, 1)
        hu += cover * (-850 - hu)
    spine = disc((side, side), 18 / pixel_mm, (75 / pixel_mm, 0), 500)
    return np.maximum(hu, spine)


def test_half_the_resolution_changes_the_noise_by_about_a_hundredth():
    hu, pixel_mm = chest(256, 1.4), 1.4
    noise = []
    for bins in (1, 2):
        sinogram = project(hu, pixel_mm, views=180, bins=bins)
        noise.append([extra_noise(sinogram, Scanner(1e5), 0.25, np.random.default_rng(seed)) for seed in range(4)])
    full, half = np.array(noise)
    body = hu > -900
    # The same random numbers: every pixel can be compared, not only the standard deviation.
    assert (half - full)[:, body].std() < 0.03 * full[:, body].std()
    assert half[:, body].std() == pytest.approx(full[:, body].std(), rel=0.005)


@pytest.mark.parametrize(
    ("corner", "circular"),
    [
        (-1000, True),
        (-1024, True),
        (-3024, True),
        (0, True),  # padding that some program left at the value of water
        ("air with noise", False),
        ("table", False),
    ],
)
def test_empty_corners_tell_a_circular_field_of_view(corner, circular):
    hu = disc((96, 96), 30)
    outside = ~inside_circle(hu.shape)
    if corner == "air with noise":
        hu[outside] = np.random.default_rng(1).normal(-1000, 10, outside.sum())
    elif corner == "table":
        hu[90:94, :] = -100
    else:
        hu[outside] = corner
    assert is_circular(hu) == circular
    sinogram = project(hu, 2.0, views=60)
    assert sinogram.circle == circular
    noise = extra_noise(sinogram, Scanner(1e4), 0.5, np.random.default_rng(1))
    assert np.all(noise[outside] == 0) == circular
    assert np.all(noise[~outside] != 0)


def test_tissue_outside_the_circle_takes_light_away():
    hu = np.full((96, 96), AIR, np.float32)
    hu[76:, 76:] = 0  # 20 pixels in the corner
    sinogram = project(hu, 2.0, views=4)
    along_rows = sinogram.values[:, 0]  # at 0 degrees a ray is a column
    axis = len(along_rows) // 2
    assert along_rows[axis + 38] == pytest.approx(20 * 2 * MU_WATER_PER_MM, rel=0.02)
    assert np.abs(along_rows[: axis + 20]).max() < 1e-6
    counts, _ = expected_counts(sinogram, Scanner(1e4))
    assert counts.min() < 0.5 * counts.max()


def test_corners_of_a_square_field_have_the_noise_of_the_air():
    """The variance of a parallel beam is the same all over air, in the corners too."""
    hu = np.random.default_rng(1).normal(-1000, 1, (96, 96)).astype(np.float32)
    sinogram = project(hu, 1.0, views=180)
    noise = np.array([extra_noise(sinogram, Scanner(1e4), 0.5, np.random.default_rng(k)) for k in range(30)])
    corners, middle = distance(hu.shape) > 56, distance(hu.shape) < 20
    assert noise[:, corners].std() == pytest.approx(noise[:, middle].std(), rel=0.03)


def test_what_is_below_air_counts_as_air():
    hu = disc((80, 80), 20)
    deep = np.where(hu == AIR, np.float32(-3024), hu)
    assert np.array_equal(project(deep, 1.0, 30).values, project(hu, 1.0, 30).values)


def test_a_body_that_is_cut_off_is_noticed_and_a_table_is_not():
    inside = disc((128, 128), 60)
    table = inside.copy()
    table[100:103] = -50
    table[~inside_circle(table.shape)] = AIR
    cut = np.maximum(inside, shoulders(128, 3.0, 460, 200))
    assert not touches_border(inside, True)
    assert not touches_border(inside, False)
    assert not touches_border(table, True)
    assert touches_border(cut, False)
    cut[~inside_circle(cut.shape)] = AIR
    assert touches_border(cut, True)


@pytest.mark.parametrize("pixel_mm", [0, -1, float("nan"), float("inf")])
def test_a_senseless_pixel_size_is_refused(pixel_mm):
    with pytest.raises(UserError, match="pixel spacing"):
        project(disc((64, 64), 20), pixel_mm)


def test_no_views_are_refused():
    with pytest.raises(UserError, match="number of views is 0"):
        project(disc((64, 64), 20), 1.0, 0)
