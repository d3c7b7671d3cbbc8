"""Contrast recovery and CNR of nodules against what was put there."""

import numpy as np
import pytest
from blurred_discs import PIXEL_MM, blurred_discs

from quietct.evaluation.nodule_sections import sections
from quietct.evaluation.nodules import measure_nodules

RADII = (8.0, 3.0, 2.0)


@pytest.fixture(scope="module")
def scene():
    target, table, z_mm = blurred_discs(0.6, RADII, contrast_hu=200.0)
    return target, table, z_mm, list(sections(table, target, z_mm, range(len(target)), PIXEL_MM, 0.5))


def measured(image, scene, exact_target=True):
    target, table, z_mm, found = scene
    return measure_nodules(image, target, found, table, z_mm, exact_target)


def test_the_target_recovers_all_of_its_own_contrast(scene):
    found = measured(scene[0], scene)
    assert found["contrast_recovery"] == 1
    assert found["cnr"] is None  # no noise
    assert [row["slice"] for row in found["rows"]] == [0, 1, 2]
    assert found["rows"][0]["target_contrast_hu"] == pytest.approx(200, abs=1)
    assert found["rows"][2]["target_contrast_hu"] < 199  # blur takes from a small one
    assert [row["diameter_mm"] for row in found["rows"]] == [16, 6, 4]


def test_recovery_is_the_share_of_contrast_that_is_left_whatever_the_shift(scene):
    image = -850 + 0.7 * (scene[0] + 850) + 33
    found = measured(image, scene)
    assert found["contrast_recovery"] == pytest.approx(0.7)
    assert found["rows"][1]["contrast_hu"] == pytest.approx(0.7 * found["rows"][1]["target_contrast_hu"])


@pytest.mark.parametrize("exact_target", [True, False])
def test_cnr_is_contrast_over_noise(scene, exact_target):
    image = scene[0] + np.random.default_rng(2).normal(0, 10, scene[0].shape)
    found = measured(image, scene, exact_target)
    assert found["rows"][0]["cnr"] == pytest.approx(20, rel=0.1)
    assert found["contrast_recovery"] == pytest.approx(1, abs=0.03)


def test_slices_near_the_middle_are_averaged_and_others_do_not_count():
    target, table, z_mm = blurred_discs(0.6, (8.0, 8.0, 8.0), contrast_hu=200.0)
    target[:] = target[0]
    table = table.iloc[:1]
    z_mm = [0.0, 1.5, 6.0]
    found = list(sections(table, target, z_mm, range(3), PIXEL_MM, 0.5))
    image = target.copy()
    image[0] = -850 + 0.5 * (image[0] + 850)
    image[2] = -850
    rows = measure_nodules(image, target, found, table, z_mm, True)["rows"]
    assert len(rows) == 1
    assert rows[0]["recovery"] == pytest.approx(0.75, abs=0.01)
    assert rows[0]["slice"] == 0


def test_no_nodule_is_explained(scene):
    target, table, z_mm, _ = scene
    assert list(measure_nodules(target, target, [], table, z_mm, True)) == ["missing"]


def test_a_nodule_that_a_clipped_grey_scale_hides_is_not_measured(scene):
    """Of -650 HU in lung of -850 HU, all that a picture from -160 HU shows is what a vessel nearby leaves."""
    target, table, z_mm, _ = scene
    picture = np.maximum(target, -160.0)
    picture[:, 30:34, 40:44] = -159.0
    found = list(sections(table, picture, z_mm, range(len(picture)), PIXEL_MM, 0.5))
    noisy = picture + np.random.default_rng(3).normal(0, 20, picture.shape)
    assert list(measure_nodules(noisy, picture, found, table, z_mm, True)) == ["missing"]
