"""Visual information fidelity against sewar's implementation and what the measure must do."""

import numpy as np
import pytest
import sewar
from scipy.ndimage import gaussian_filter

from quietct.evaluation.vif import vif


@pytest.fixture(scope="module")
def scene():
    """Structure of many sizes between -1100 and 2000 HU, beyond the fixed scale at its lower end (150 x 170)."""
    rng = np.random.default_rng(3)
    image = sum(size * 60 * gaussian_filter(rng.normal(0, 1, (150, 170)), size) for size in (1, 3, 9))
    image[20:60, 30:80] += 1500
    image[90:120, 100:150] = -1100
    return image


def by_sewar(image, reference):
    return sewar.vifp(*(np.clip(hu + 1024, 0, 2924) for hu in (reference, image)))


@pytest.mark.parametrize(
    "change",
    [
        lambda hu: hu + np.random.default_rng(4).normal(0, 30, hu.shape),
        lambda hu: gaussian_filter(hu, 1.5),
        lambda hu: 1.2 * hu,
        lambda hu: -hu,
        lambda hu: np.where(hu > 800, 3000.0, 40.0),
    ],
    ids=["noise", "blur", "contrast", "negative", "two greys"],
)
def test_it_equals_an_independent_implementation(scene, change):
    image = change(scene)
    assert vif(image, scene) == pytest.approx(by_sewar(image, scene), rel=1e-6)


def test_equal_images_have_1_noise_and_blur_less_and_raised_contrast_more(scene):
    centred = scene - scene.mean()
    noisy = scene + np.random.default_rng(5).normal(0, 10, scene.shape)
    noisier = scene + np.random.default_rng(5).normal(0, 40, scene.shape)
    assert vif(scene, scene) == pytest.approx(1, abs=1e-6)
    assert 0 < vif(noisier, scene) < vif(noisy, scene) < 0.9
    assert vif(gaussian_filter(scene, 2), scene) < 0.9
    assert vif(0.3 * centred + 100, 0.2 * centred + 100) > 1


def test_noise_weighs_on_the_scale_of_hu_not_on_that_of_the_image(scene):
    """The eye's noise is absolute: the same pair has another value in other units, so the scale must be fixed."""
    noisy = scene + np.random.default_rng(6).normal(0, 30, scene.shape)
    grey = [np.clip(hu + 1024, 0, 2924) / 2924 for hu in (scene, noisy)]
    assert vif(noisy, scene) == pytest.approx(by_sewar(noisy, scene), rel=1e-6)
    assert abs(sewar.vifp(*grey) - vif(noisy, scene)) > 0.2


def test_a_reference_without_information_has_no_value(scene):
    assert np.isnan(vif(scene, np.full_like(scene, 40.0)))
    assert np.isnan(vif(scene, np.full_like(scene, -2000.0)))
    assert np.isnan(vif(np.zeros((30, 30)), np.eye(30)))


def test_a_constant_image_keeps_nothing(scene):
    assert vif(np.full_like(scene, 40.0), scene) == pytest.approx(0, abs=1e-9)
