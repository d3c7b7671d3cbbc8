"""The global noise index on images whose noise is known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from quietct.ct.phantom import phantom
from quietct.evaluation.noise_index import noise_index_hu


@pytest.fixture(scope="module")
def chest():
    """A slice of the synthetic chest without noise, HU."""
    return phantom(2).render_slice(0.0)


def white(sigma, shape=(512, 512), seed=7):
    return np.random.default_rng(seed).normal(0, sigma, shape)


@pytest.mark.parametrize("sigma", [2.0, 20.0, 60.0])
def test_white_noise_on_even_tissue_has_its_own_standard_deviation(sigma):
    assert noise_index_hu(50 + white(sigma)) == pytest.approx(sigma, rel=0.02)


@pytest.mark.parametrize("sigma", [15.0, 40.0])
def test_white_noise_in_a_chest_is_found_among_lungs_ribs_and_vessels(chest, sigma):
    assert noise_index_hu((chest + white(sigma)).round().astype(np.int16)) == pytest.approx(sigma, rel=0.04)


def test_the_noise_of_a_soft_kernel_is_found_but_for_its_long_waves(chest):
    noise = gaussian_filter(white(100), 1.0)
    assert 0.88 < noise_index_hu(chest + noise) / noise.std() < 1.0


def test_noise_where_there_is_no_soft_tissue_does_not_count():
    """The left half is muscle with noise of 40 HU, the right half lung with noise of 10 HU."""
    hu = np.where(np.arange(512) < 256, 50 + white(40), -850 + white(10, seed=8))
    assert noise_index_hu(hu) == pytest.approx(40, rel=0.03)


def test_structure_does_not_count_though_there_is_more_of_it_than_of_even_tissue():
    """Two thirds are slopes of 2 HU a pixel, whose windows have a standard deviation of 7.6 HU."""
    at = np.arange(512)
    ridges = np.where(at < 180, 50, 10 + 2.0 * np.abs(at % 80 - 40))
    assert noise_index_hu(ridges + white(5)) == pytest.approx(5, rel=0.06)


def test_an_image_without_even_soft_tissue_has_no_index():
    assert np.isnan(noise_index_hu(-850 + white(20)))
    assert np.isnan(noise_index_hu(np.full((512, 512), 50.0)))
    assert np.isnan(noise_index_hu(np.zeros((8, 8)) + np.eye(8)))
