from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage

from quietct.ct.patches import body_mask
from quietct.ct.phantom import (
    DENSITIES_HU,
    DIAMETERS_MM,
    PIXEL_MM,
    Phantom,
    nodules,
    phantom,
    quantum_noise,
    scan_slice,
    soft_kernel,
)

LAYOUT = 1
SPACING_MM = 3.0


@pytest.fixture(scope="module")
def heights():
    return np.arange(-24.0, 25.0, SPACING_MM)


@pytest.fixture(scope="module")
def chest(heights):
    """Noise-free slices with and without nodules."""
    chest = phantom(LAYOUT)
    empty = np.stack([chest.render_slice(z, SPACING_MM, with_nodules=False) for z in heights])
    full = empty.copy()
    for z, image in zip(heights, full, strict=True):
        chest.insert_nodules(image, z, SPACING_MM)
    return full, empty


def grid_mm():
    at = (np.arange(512) - 255.5) * PIXEL_MM
    return at[None, :], at[:, None]


def inside(heights):
    """Nodules that lie wholly in the rendered slab."""
    top = heights[-1] + SPACING_MM / 2
    return [n for n in nodules(LAYOUT) if abs(n.centre_mm[2]) + n.diameter_mm / 2 <= top]


# Nodules


@pytest.mark.parametrize("layout", [1, 2])
def test_every_diameter_occurs_in_every_density(layout):
    assert {(n.diameter_mm, n.hu) for n in nodules(layout)} == {(d, h) for d in DIAMETERS_MM for h in DENSITIES_HU}
    assert len(nodules(layout)) == len(DIAMETERS_MM) * len(DENSITIES_HU)


@pytest.mark.parametrize("layout", [1, 2])
def test_nodules_do_not_touch_each_other(layout):
    for a, b in combinations(nodules(layout), 2):
        gap = np.linalg.norm(np.subtract(a.centre_mm, b.centre_mm)) - (a.diameter_mm + b.diameter_mm) / 2
        assert gap > 2


def test_nodules_lie_in_the_lungs(chest, heights):
    x, y = grid_mm()
    found = inside(heights)
    assert len(found) >= 10
    for nodule in found:
        cx, cy, cz = nodule.centre_mm
        k = int(np.argmin(np.abs(heights - cz)))
        disc = np.hypot(x - cx, y - cy) < nodule.diameter_mm / 2 + 2
        assert np.mean(chest[1][k][disc] < -500) > 0.8  # before the nodule is put in, it is lung there


def test_measured_diameter_is_the_one_asked_for(chest, heights):
    """The sphere's volume from the partial volumes of all voxels, and from it the diameter."""
    x, y = grid_mm()
    for nodule in inside(heights):
        if nodule.hu < -500:
            continue  # too near to lung for a sharp measurement
        cx, cy, _ = nodule.centre_mm
        near = np.hypot(x - cx, y - cy) < nodule.diameter_mm
        tall = np.abs(heights - nodule.centre_mm[2]) <= nodule.diameter_mm / 2 + SPACING_MM
        clean, empty = chest[0][tall][:, near], chest[1][tall][:, near]
        lung = empty < -200
        fraction = (clean[lung] - empty[lung]) / (nodule.hu - empty[lung])
        volume = fraction.sum() * PIXEL_MM**2 * SPACING_MM
        assert (6 * volume / np.pi) ** (1 / 3) == pytest.approx(nodule.diameter_mm, rel=0.03)


def test_centre_of_mass_is_the_centre_asked_for(chest, heights):
    x, y = grid_mm()
    for nodule in inside(heights):
        cx, cy, cz = nodule.centre_mm
        near = (np.hypot(x - cx, y - cy) < nodule.diameter_mm)[None] & (
            np.abs(heights - cz) <= nodule.diameter_mm / 2 + SPACING_MM
        )[:, None, None]
        weight = np.where(near & (chest[1] < -200), (chest[0] - chest[1]) / (nodule.hu - chest[1]), 0)
        if nodule.hu < -500:
            continue
        measured = [(weight * axis).sum() / weight.sum() for axis in (x[None], y[None], heights[:, None, None])]
        assert measured == pytest.approx([cx, cy, cz], abs=0.25)


def test_core_has_the_density_asked_for(chest, heights):
    x, y = grid_mm()
    for nodule in inside(heights):
        cx, cy, cz = nodule.centre_mm
        k = int(np.argmin(np.abs(heights - cz)))
        # The widest disc that is inside the sphere through the whole thickness of the slice.
        off = abs(heights[k] - cz) + SPACING_MM / 2
        radius = np.sqrt(max((nodule.diameter_mm / 2) ** 2 - off**2, 0)) - PIXEL_MM
        core = np.hypot(x - cx, y - cy) < radius
        if core.any():
            assert chest[0][k][core] == pytest.approx(nodule.hu, abs=0.5)


def test_the_default_scan_holds_all_nodules_whole():
    for nodule in nodules(LAYOUT):
        assert abs(nodule.centre_mm[2]) + nodule.diameter_mm / 2 <= 36


# Anatomy


def test_the_chest_has_the_densities_of_a_chest(chest, heights):
    image = chest[1][len(heights) // 2]
    body = body_mask(image, -500)
    assert 0.2 < body.mean() < 0.5  # 320 mm x 220 mm of 360 mm x 360 mm
    lung = body & (image < -600)
    assert 0.3 < lung.sum() / body.sum() < 0.65
    assert -880 < np.median(image[lung]) < -820
    assert 30 < np.median(image[body & (image > 0) & (image < 100)]) < 60  # muscle, blood
    assert -115 < np.median(image[body & (image > -150) & (image < -50)]) < -95  # fat
    assert (image[body] > 400).sum() * PIXEL_MM**2 > 500  # mm2 of compact bone
    assert image[:60].max() == -1000  # air in front of the patient
    assert image.min() >= -1000 - 1e-3


def test_there_are_two_lungs(chest, heights):
    image = chest[1][len(heights) // 2]
    labels, n = ndimage.label(ndimage.binary_erosion(body_mask(image, -500) & (image < -600), iterations=2))
    sizes = np.sort(np.bincount(labels.ravel())[1:])[::-1]
    assert n >= 2
    assert sizes[1] > 0.5 * sizes[0]


def test_neighbouring_slices_resemble_each_other_more_than_distant_ones():
    chest = phantom(LAYOUT)
    slices = np.stack([chest.render_slice(z, 1.0) for z in (-10.0, -9.0, 5.0)])
    air = [ndimage.binary_closing(image < -600, iterations=5) & body_mask(image, -500) for image in slices]
    lung = ndimage.binary_erosion(np.all(air, axis=0), iterations=6)
    first, next_, far = slices[:, lung] > -600  # vessels

    def overlap(a, b):
        return (a & b).sum() / (a | b).sum()

    assert overlap(first, next_) > 0.4
    assert overlap(first, far) < 0.1


def test_the_truth_is_no_cartoon(chest, heights):
    """Lung and muscle have fine structure of their own, and it is modest."""
    image = chest[1][len(heights) // 2]
    body = ndimage.binary_erosion(body_mask(image, -500), iterations=6)
    muscle = ndimage.binary_erosion(body & (image > 20) & (image < 90), iterations=3)
    lung = ndimage.binary_erosion(body & (image < -780), iterations=2)
    assert 1 < image[muscle].std() < 12
    assert 5 < image[lung].std() < 40


def test_a_layout_is_always_the_same_and_unlike_others():
    again, other = Phantom(LAYOUT), phantom(2)
    image = phantom(LAYOUT).render_slice(4.0)
    assert again.nodules == nodules(LAYOUT)
    assert np.array_equal(again.render_slice(4.0), image)
    assert np.array_equal(phantom(LAYOUT).render_slice(4.0), image)
    assert {n.centre_mm for n in nodules(2)}.isdisjoint(n.centre_mm for n in nodules(1))
    assert np.mean(np.abs(other.render_slice(4.0) - image) > 20) > 0.05


def test_a_thick_slice_is_the_mean_of_thin_ones():
    chest = phantom(LAYOUT)
    thick = chest.render_slice(10.0, 6.0, with_nodules=False)
    thin = np.mean([chest.render_slice(z, 2.0, with_nodules=False) for z in (8.0, 10.0, 12.0)], axis=0)
    assert np.abs(thick - thin).max() < 1e-2


# Noise


@pytest.mark.parametrize(
    ("mas", "thickness", "sigma"), [(100, 3, 12.0), (25, 3, 24.0), (400, 3, 6.0), (100, 0.75, 24.0)]
)
def test_noise_falls_with_the_root_of_exposure_and_thickness(mas, thickness, sigma):
    noise = scan_slice(LAYOUT, 0.0, thickness, mas, 1) - scan_slice(LAYOUT, 0.0, thickness, np.inf, 1)
    assert noise.std() == pytest.approx(sigma, rel=0.01)
    assert abs(noise.mean()) < 0.05


def test_repeats_share_the_truth_and_not_the_noise():
    truth = scan_slice(LAYOUT, 0.0, 3.0, np.inf, 1)
    a, b = (scan_slice(LAYOUT, 0.0, 3.0, 100, repeat) - truth for repeat in (1, 2))
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02
    assert np.array_equal(scan_slice(LAYOUT, 0.0, 3.0, 100, 1) - truth, a)
    other = scan_slice(LAYOUT, 3.0, 3.0, 100, 1) - scan_slice(LAYOUT, 3.0, 3.0, np.inf, 1)
    assert abs(np.corrcoef(a.ravel(), other.ravel())[0, 1]) < 0.02


def test_the_kernel_blurs_by_its_transfer_function_and_keeps_the_mean():
    at = np.arange(512)
    for cycles in (0, 16, 64, 128, 200):
        wave = np.cos(2 * np.pi * cycles * at / 512)[None].repeat(512, axis=0)
        assert soft_kernel(wave) == pytest.approx(wave * np.cos(np.pi * cycles / 512) ** 2, abs=1e-4)


def test_noise_power_spectrum_is_a_ramp_that_rolls_off():
    rng = np.random.default_rng(0)
    power = np.mean([np.abs(np.fft.fft2(quantum_noise(rng, 10.0))) ** 2 for _ in range(20)], axis=0)
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None])

    def ring(f):
        return power[np.abs(frequency - f) < 0.005].mean()

    def expected(f):
        return f * np.cos(np.pi * f) ** 4

    for f in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4):
        assert ring(f) / ring(0.15) == pytest.approx(expected(f) / expected(0.15), rel=0.1)
    assert power[0, 0] < 1e-6 * ring(0.15)
    assert ring(0.6) < 1e-6 * ring(0.15)


@pytest.mark.parametrize("shape", [(64, 64), (63, 65), (64, 33)])
def test_noise_of_any_shape_has_the_standard_deviation_asked_for(shape):
    rng = np.random.default_rng(3)
    variance = np.mean([quantum_noise(rng, 5.0, shape).var() for _ in range(200)])
    assert np.sqrt(variance) == pytest.approx(5.0, rel=0.01)
