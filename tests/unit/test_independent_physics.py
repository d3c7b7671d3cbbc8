"""Noise power and task transfer against an independent package, micro-ct-image-quality-toolbox."""

import numpy as np
import pytest
from blurred_discs import PIXEL_MM, SIZE, blurred_discs
from microct_iq_toolbox import nps, ttf
from scipy.ndimage import gaussian_filter

from quietct.evaluation.homogeneous import homogeneous_regions, measure_noise_power, noise_regions, region_side
from quietct.evaluation.nodule_sections import sections
from quietct.evaluation.task_transfer import measure_task_transfer


def test_noise_power_is_that_of_the_other_package():
    target = np.full((6, 230, 230), 50.0)
    white = np.random.default_rng(1).normal(0, 1, target.shape)
    image = target + 60 * (gaussian_filter(white, (0, 0.8, 0.8)) - gaussian_filter(white, (0, 2, 2)))
    own = measure_noise_power(noise_regions(image, target, PIXEL_MM, False), PIXEL_MM)
    side = region_side(PIXEL_MM)
    bounds = [(row, row + side, column, column + side) for row, column in homogeneous_regions(target[0], PIXEL_MM)]
    assert own["n_regions"] == 6 * len(bounds) == 600
    other = nps(image, bounds, PIXEL_MM)
    # Its ring k holds the distances from k to k + 1 steps, whatever frequency it gives them; ours those around k.
    rings = np.arange(2, 9)
    there = np.interp((rings + 0.5) / (side * PIXEL_MM), own["frequency_per_mm"], own["power_hu2_mm2"])
    np.testing.assert_allclose(there, other.y[rings], rtol=0.08)
    assert own["sd_hu"] == pytest.approx(other.summary["noise_std"], rel=0.03)


@pytest.mark.parametrize("sigma_mm", [0.7, 1.0])
def test_task_transfer_is_that_of_the_other_package(sigma_mm):
    target, table, z_mm = blurred_discs(sigma_mm, contrast_hu=300.0, offset_px=0)
    found = list(sections(table, target, z_mm, range(len(target)), PIXEL_MM, 0.5))
    own = measure_task_transfer(target, target, found, PIXEL_MM, True)
    noise = np.random.default_rng(2).normal(0, 1, target.shape)  # without any, its CNR is infinite
    centres = [(SIZE // 2, SIZE // 2)] * 2
    other = ttf(target + noise, centres, 22, PIXEL_MM, materials=["a", "b"])
    frequency = np.array(own["frequency_per_mm"])
    curve = np.interp(frequency, other.x, np.atleast_2d(other.y)[0])
    np.testing.assert_allclose(own["ttf"], curve, atol=0.05)
