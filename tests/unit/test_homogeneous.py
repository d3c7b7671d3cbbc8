"""Noise in homogeneous regions, against noise that was put there."""

import numpy as np
import pytest

from quietct.evaluation.homogeneous import (
    MIN_REGIONS,
    homogeneous_regions,
    measure_noise_power,
    noise_regions,
    region_side,
)

PIXEL_MM = 0.7
SIDE = region_side(PIXEL_MM)


def muscle_in_lung(shape=(256, 256), edge=120):
    """Half lung, half muscle of 50 HU that grows by 10 HU over the image, in HU."""
    image = np.full(shape, -850.0)
    image[:, :edge] = 50 + np.linspace(0, 10, shape[0])[:, None]
    return image


def test_regions_lie_in_soft_tissue_and_do_not_overlap():
    corners = homogeneous_regions(muscle_in_lung(), PIXEL_MM)
    taken = np.zeros((256, 256), int)
    for row, column in corners:
        taken[row : row + SIDE, column : column + SIDE] += 1
    assert taken.max() == 1
    assert not taken[:, 118:].any()  # the smoothed edge is no soft tissue
    assert len(corners) == (256 // SIDE) * (118 // SIDE)


@pytest.mark.parametrize("pixel_mm", [0.7, 0.8])  # regions of 23 and 20 pixels
def test_regions_go_up_to_a_bright_line_and_no_farther(pixel_mm):
    side = region_side(pixel_mm)
    for line in range(40, 40 + side):
        image = np.full((side, 120), 50.0)
        image[:, line] = 1050
        # A line of 1000 HU behind a blur of 1.5 pixels is 36 HU high 3 pixels beside it, and 109 HU 2 pixels beside.
        starts = homogeneous_regions(image, pixel_mm)[:, 1]
        left, right = starts[starts < line], starts[starts > line]
        assert left.tolist() == list(range(0, line - 1 - side, side))
        assert right[0] == line + 3


def test_bone_vessels_fat_and_edges_have_no_regions():
    for hu in (-1000, -100, 300):
        assert not len(homogeneous_regions(np.full((64, 64), float(hu)), PIXEL_MM))
    stripes = np.where(np.arange(64) % 20 < 10, 0.0, 100.0)[None].repeat(64, axis=0)
    assert not len(homogeneous_regions(stripes, PIXEL_MM))
    assert not len(homogeneous_regions(np.full((SIDE - 1, 64), 50.0), PIXEL_MM))


@pytest.mark.parametrize("exact_target", [True, False])
def test_white_noise_is_found_with_its_power_and_deviation(exact_target):
    target = np.stack([muscle_in_lung()] * 4)
    image = target + np.random.default_rng(3).normal(0, 20, target.shape)
    found = measure_noise_power(noise_regions(image, target, PIXEL_MM, exact_target), PIXEL_MM)
    assert found["n_regions"] == 4 * (256 // SIDE) * (118 // SIDE)
    assert found["sd_hu"] == pytest.approx(20, rel=0.02)
    np.testing.assert_allclose(found["power_hu2_mm2"][4:], 400 * PIXEL_MM**2, rtol=0.1)


def test_an_exact_target_takes_the_structure_of_the_tissue_out_of_the_noise():
    structure = muscle_in_lung() + np.random.default_rng(4).normal(0, 15, (256, 256))
    image = structure + np.random.default_rng(5).normal(0, 5, (256, 256))
    noise = {exact: next(noise_regions([image], [structure], PIXEL_MM, exact)) for exact in (True, False)}
    assert noise[True].std() == pytest.approx(5, rel=0.05)
    assert noise[False].std() == pytest.approx(np.hypot(5, 15), rel=0.05)


def test_too_few_regions_are_explained():
    target = muscle_in_lung()[:SIDE]
    found = measure_noise_power(noise_regions([target], [target], PIXEL_MM, True), PIXEL_MM)
    assert list(found) == ["missing"]
    assert found["missing"].startswith("The target has 5 homogeneous regions")
    assert found["missing"].endswith(f"{MIN_REGIONS} are needed.")
    assert measure_noise_power(noise_regions([], [], PIXEL_MM, True), PIXEL_MM)["missing"]


def test_an_image_without_noise_has_no_peak_and_no_mean_frequency():
    target = np.full((128, 128), 50.0)
    found = measure_noise_power(noise_regions([target], [target], PIXEL_MM, True), PIXEL_MM)
    assert found["sd_hu"] == 0
    assert found["peak_per_mm"] is None
    assert found["mean_per_mm"] is None
