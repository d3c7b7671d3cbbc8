from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage

from quietct.ct.low_dose import extra_noise
from quietct.ct.patches import body_mask
from quietct.ct.phantom import (
    DENSITIES_HU,
    DIAMETERS_MM,
    PIXEL_MM,
    Phantom,
    insert_nodules,
    nodules,
    phantom,
    scan_slice,
    scanner,
    soft_kernel,
)
from quietct.ct.projection import project

LAYOUT = 1
SPACING_MM = 3.0
REPEATS = 4


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
        insert_nodules(image, nodules(LAYOUT), z, SPACING_MM)
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


@pytest.mark.parametrize("z", [-100.0, 0.0, 100.0])
def test_nothing_lies_outside_the_circle_of_the_field_of_view(z):
    """Not even the table; so a scan looks the same to the reader of its DICOM files, in whole HU behind the kernel."""
    x, y = grid_mm()
    image = phantom(LAYOUT).render_slice(z)
    outside = np.hypot(x, y) > 512 * PIXEL_MM / 2
    assert np.all(image[outside] == -1000)
    assert np.all(np.rint(soft_kernel(image))[outside] == -1000)


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


# Scans


def near(x_mm, y_mm, radius_mm):
    """Mask of a disc."""
    x, y = grid_mm()
    return np.hypot(x - x_mm, y - y_mm) < radius_mm


MIDDLE, LUNG, SIDE = near(0, 0, 25), near(80, 0, 25), near(145, 0, 12)  # SIDE is muscle and fat under the arm


def noise_of(mas, repeat=1, z=0.0, thickness=SPACING_MM):
    return scan_slice(LAYOUT, z, thickness, mas, repeat) - scan_slice(LAYOUT, z, thickness, np.inf, repeat)


@pytest.fixture(scope="module")
def low():
    """Noise of repeat scans at 25 mAs."""
    return np.stack([noise_of(25, repeat) for repeat in range(REPEATS)])


@pytest.fixture(scope="module")
def simulated():
    """The same from scans at 200 mAs, by the noise model `low_dose`, which sees the noisy scans alone."""
    rng, full = np.random.default_rng(1), scanner(200, SPACING_MM)
    scans = [scan_slice(LAYOUT, 0.0, SPACING_MM, 200, repeat) for repeat in range(REPEATS)]
    noisy = [scan + extra_noise(project(scan, PIXEL_MM), full, 25 / 200, rng) for scan in scans]
    return np.stack(noisy) - scan_slice(LAYOUT, 0.0, SPACING_MM, np.inf, 1)


def ring_power(noise):
    """Noise power in rings of 1/32 cycles a pixel in the middle of the chest: frequencies and relative power."""
    middle = noise[:, 128:384, 128:384] * np.hanning(256)[:, None] * np.hanning(256)
    power = np.mean(np.abs(np.fft.fft2(middle)) ** 2, axis=0)
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None])
    rings = [(frequency > low) & (frequency <= low + 1 / 32) for low in np.arange(1, 15) / 32]
    return np.array([frequency[ring].mean() for ring in rings]), np.array([power[ring].mean() for ring in rings])


def correlation(noise, region, rows, columns):
    """Of pixels in a region with those some rows and columns away."""
    moved = np.roll(noise, (-rows, -columns), axis=(1, 2))
    return np.corrcoef(noise[:, region].ravel(), moved[:, region].ravel())[0, 1]


def test_a_scan_without_noise_is_the_truth_behind_the_kernel():
    truth = scan_slice(LAYOUT, 4.0, 2.0, np.inf, 1)
    assert np.array_equal(truth, soft_kernel(phantom(LAYOUT).render_slice(4.0, 2.0)))
    truth += 1  # belongs to the caller
    assert not np.array_equal(truth, scan_slice(LAYOUT, 4.0, 2.0, np.inf, 1))


def test_the_kernel_blurs_by_its_transfer_function_and_keeps_the_mean():
    at = np.arange(512)
    for cycles in (0, 16, 64, 128, 200):
        wave = np.cos(2 * np.pi * cycles * at / 512)[None].repeat(512, axis=0)
        np.testing.assert_allclose(soft_kernel(wave), wave * np.cos(np.pi * cycles / 512) ** 2, atol=1e-4)


def test_noise_in_the_middle_of_the_chest_is_that_of_a_usual_scanner(low):
    """12 HU at 100 mAs and 3 mm, so 24 HU at a quarter of that."""
    assert low[:, MIDDLE].std() == pytest.approx(24, rel=0.08)
    assert abs(low[:, near(0, 0, 150)].mean()) < 0.1


@pytest.mark.parametrize(("mas", "thickness"), [(400, 3), (25, 6), (100, 0.75)])
def test_the_variance_of_noise_falls_with_exposure_and_thickness(low, mas, thickness):
    sigma = noise_of(mas, thickness=thickness)[near(0, 0, 150)].std()
    # The electronic noise, which does not depend on them, takes a little from the law.
    assert sigma == pytest.approx(low[:, near(0, 0, 150)].std() * np.sqrt(25 * 3 / (mas * thickness)), rel=0.04)


def test_repeats_slices_and_exposures_share_no_noise(low):
    whole = near(0, 0, 150)
    others = [low[1], noise_of(25, 0, z=SPACING_MM), noise_of(50, 0)]
    for other in others:
        assert abs(np.corrcoef(low[0][whole], other[whole])[0, 1]) < 0.02
    assert np.array_equal(noise_of(25, 0), low[0])


def test_noise_is_larger_and_streakier_where_rays_cross_more_tissue(low):
    """Stationary noise, white or coloured, has one standard deviation and one texture everywhere."""
    middle, lung, side = (low[:, region].std() for region in (MIDDLE, LUNG, SIDE))
    assert middle > 1.3 * lung
    assert middle > 1.3 * side
    shoulders = np.stack([noise_of(25, repeat, z=100.0) for repeat in range(2)])
    assert shoulders[:, near(0, 92, 15)].std() > 1.2 * middle  # the spine between them

    def streaks(noise, region):
        return correlation(noise, region, 0, 1) - correlation(noise, region, 1, 0)

    assert abs(streaks(low, MIDDLE)) < 0.1
    for region in (SIDE, near(0, 92, 15)):  # the most light is lost from side to side
        assert streaks(shoulders, region) > 0.15


def test_the_noise_power_spectrum_is_the_ramp_times_the_square_of_the_kernel(low):
    frequency, power = ring_power(low)
    expected = frequency * np.cos(np.pi * frequency) ** 4
    scale = power.sum() / expected.sum()
    usual = frequency < 0.36  # beyond, little is left of it, and more of what the image's grid folds back
    np.testing.assert_allclose(power[usual], scale * expected[usual], rtol=0.15)
    assert power[~usual].max() < 0.1 * power.max()


def test_a_scan_at_low_dose_and_the_noise_model_on_one_at_high_dose_are_the_same_physics(low, simulated):
    for region in (near(0, 0, 175), MIDDLE, LUNG, SIDE):
        assert simulated[:, region].std() == pytest.approx(low[:, region].std(), rel=0.05)
    np.testing.assert_allclose(ring_power(simulated)[1], ring_power(low)[1], rtol=0.15)
