"""Task transfer functions against the closed form of a blurred disc."""

import numpy as np
import pytest
from blurred_discs import PIXEL_MM, blurred_discs
from scipy.ndimage import gaussian_filter
from scipy.signal.windows import tukey

from quietct.evaluation.nodule_sections import sections
from quietct.evaluation.task_transfer import fading_window, frequency_at, measure_task_transfer


def found_in(target, table, z_mm, within=0.5):
    return list(sections(table, target, z_mm, range(len(target)), PIXEL_MM, within))


def gauss(frequency, sigma_mm):
    """Transfer function of the blur, and of the pixel that collects it."""
    frequency = np.asarray(frequency)
    return np.exp(-2 * np.pi**2 * sigma_mm**2 * frequency**2) * np.sinc(frequency * PIXEL_MM)


@pytest.mark.parametrize("sigma_mm", [0.6, 0.8, 1.0])
@pytest.mark.parametrize("contrast_hu", [100.0, -100.0])
def test_a_disc_behind_a_gaussian_has_the_gaussians_transfer_function(sigma_mm, contrast_hu):
    target, table, z_mm = blurred_discs(sigma_mm, contrast_hu=contrast_hu)
    found = measure_task_transfer(target, target, found_in(target, table, z_mm), PIXEL_MM, True)
    frequency = np.array(found["frequency_per_mm"])
    truth = gauss(frequency, sigma_mm)
    assert found["ttf"][0] == 1
    np.testing.assert_allclose(found["ttf"], truth, atol=0.011)
    assert found["ttf50_per_mm"] == pytest.approx(frequency_at(frequency, truth), rel=0.015)
    assert found["n_nodules"] == 3
    assert found["cnr"] is None  # no noise


def test_the_target_keeps_its_own_function_beside_that_of_a_blurrier_image():
    target, table, z_mm = blurred_discs(0.6)
    image, _, _ = blurred_discs(1.0)
    found = measure_task_transfer(image, target, found_in(target, table, z_mm), PIXEL_MM, True)
    np.testing.assert_allclose(found["ttf"], gauss(found["frequency_per_mm"], 1.0), atol=0.011)
    np.testing.assert_allclose(found["target"]["ttf"], gauss(found["frequency_per_mm"], 0.6), atol=0.011)
    assert found["ttf50_per_mm"] < found["target"]["ttf50_per_mm"]


@pytest.mark.parametrize("exact_target", [True, False])
def test_noise_moves_it_little_where_the_contrast_is_enough(exact_target):
    target, table, z_mm = blurred_discs(0.8)
    found = found_in(target, table, z_mm)
    f50 = []
    for seed in range(12):
        noise = gaussian_filter(np.random.default_rng(seed).normal(0, 1, target.shape), (0, 0.7, 0.7))
        noisy = target + 8 * noise / noise.std()
        measured = measure_task_transfer(noisy, target, found, PIXEL_MM, exact_target)
        assert measured["cnr"] == pytest.approx(np.sqrt(3) * 100 / 8, rel=0.25)
        f50.append(measured["ttf50_per_mm"])
    truth = frequency_at(np.linspace(0, 0.7, 701), gauss(np.linspace(0, 0.7, 701), 0.8))
    assert np.mean(f50) == pytest.approx(truth, rel=0.03)
    assert np.std(f50) < 0.08 * truth


def test_edges_of_too_little_contrast_are_explained():
    target, table, z_mm = blurred_discs(0.8)
    noisy = target + np.random.default_rng(1).normal(0, 40, target.shape)
    found = measure_task_transfer(noisy, target, found_in(target, table, z_mm), PIXEL_MM, True)
    assert list(found) == ["missing"]
    assert "15 are needed" in found["missing"]


def test_small_nodules_and_none_at_all_are_explained():
    target, table, z_mm = blurred_discs(0.6, radii_mm=(2.5,))
    for found in (found_in(target, table, z_mm), []):
        assert (
            "No nodule with a radius of 4 mm" in measure_task_transfer(target, target, found, PIXEL_MM, True)["missing"]
        )


def test_an_image_without_the_nodules_is_explained():
    target, table, z_mm = blurred_discs(0.8)
    flat = np.full(target.shape, -850.0)
    assert list(measure_task_transfer(flat, target, found_in(target, table, z_mm), PIXEL_MM, True)) == ["missing"]


def test_a_vessel_beside_a_nodule_does_not_count():
    target, table, z_mm = blurred_discs(0.8)
    clean = measure_task_transfer(target, target, found_in(target, table, z_mm), PIXEL_MM, True)
    target[:, :, 61:64] += np.where(target[:, :, 61:64] < -800, 900, 0)  # passes 1 mm beside the edges
    found = found_in(target, table, z_mm)
    assert all(not section.clear.all() for section in found)
    crossed = measure_task_transfer(target, target, found, PIXEL_MM, True)
    np.testing.assert_allclose(crossed["ttf"], clean["ttf"], atol=0.02)


def test_sections_have_the_radius_of_the_sphere_at_their_height():
    target, table, _ = blurred_discs(0.6, radii_mm=(8.0, 8.0))
    table = table.assign(z_mm=[3.0, 100.0], row=48.0, column=48.0)
    found = found_in(target, table, [0.0, 8.0])
    assert [(section.nodule, section.index) for section in found] == [(0, 0)]
    assert found[0].radius_mm == pytest.approx(np.sqrt(8**2 - 3**2))


def test_a_nodule_at_the_border_of_the_image_is_left_out():
    target, table, z_mm = blurred_discs(0.6)
    assert not found_in(target, table.assign(row=6.0), z_mm)


def test_the_window_is_tukeys():
    for length in (4, 41, 90):
        np.testing.assert_allclose(fading_window(length), tukey(length, 0.5), atol=1e-15)
