import math

import numpy as np
import pytest
from water import disc, distance, many, shoulders

from quietct.ct.low_dose import (
    STARVED_BELOW,
    Kernel,
    Scanner,
    bowtie,
    expected_counts,
    extra_noise,
    extra_ray_noise,
    scan_noise,
)
from quietct.ct.projection import MU_WATER_PER_MM, Sinogram, back_project, project
from quietct.errors import UserError

SIDE, PIXEL_MM, RADIUS, VIEWS = 96, 2.0, 36, 180
ELEMENTS = PIXEL_MM * 1160 / VIEWS  # of the scanner that a simulated ray stands for
MIDDLE = distance((SIDE, SIDE)) < 10


@pytest.fixture(scope="module")
def cylinder():
    """A centred cylinder of water, 144 mm across."""
    return project(disc((SIDE, SIDE), RADIUS), PIXEL_MM, VIEWS)


def sd(noise, where=MIDDLE):
    return float(noise[:, where].std())


def closed_form_sd(sinogram, ray_variance):
    """Of the middle: π²/12 of the ramp filter, times the power 2/3 - 2/π² that linear interpolation leaves of it."""
    axis = len(sinogram.values) // 2
    variance = (math.pi**2 / 18 - 1 / 6) * ray_variance[axis].mean() / sinogram.views / sinogram.pixel_mm**2
    return math.sqrt(variance) * 1000 / MU_WATER_PER_MM


@pytest.mark.parametrize("bowtie_mm", [None, 250.0])
def test_noise_in_the_middle_of_a_water_disc_has_the_closed_form_variance(cylinder, bowtie_mm):
    photons = 1e5
    scanner = Scanner(photons, bowtie_mm=bowtie_mm)
    b = 0 if bowtie_mm is None else MU_WATER_PER_MM * 250 * (1 - np.sqrt(1 - (cylinder.ray_mm / 125) ** 2))[:, None]
    variance = np.exp(cylinder.values + b) / (photons * ELEMENTS)
    assert sd(many(lambda rng: scan_noise(cylinder, scanner, rng))) == pytest.approx(
        closed_form_sd(cylinder, variance), rel=0.03
    )


@pytest.mark.parametrize("dose", [0.5, 0.25, 0.1])
def test_extra_noise_has_the_closed_form_variance_of_its_dose(cylinder, dose):
    variance = (1 - dose) / dose * np.exp(cylinder.values) / (1e5 * ELEMENTS)
    noise = many(lambda rng: extra_noise(cylinder, Scanner(1e5), dose, rng))
    assert sd(noise) == pytest.approx(closed_form_sd(cylinder, variance), rel=0.03)
    assert abs(noise[:, MIDDLE].mean()) < 0.03 * sd(noise)


@pytest.mark.parametrize(
    ("object_hu", "photons", "dose"),
    [
        ("cylinder", 1e5, 0.25),
        ("cylinder", 1e3, 0.1),  # rays of 16 photons at the dose: they starve
        ("shoulders", 3e5, 0.25),
    ],
)
def test_a_scan_with_extra_noise_is_as_noisy_as_a_scan_at_that_dose(cylinder, object_hu, photons, dose):
    sinogram = cylinder if object_hu == "cylinder" else project(shoulders(SIDE, 5.0, 400), 5.0, VIEWS)
    where = distance(sinogram.shape) < 10
    scan = many(lambda rng: scan_noise(sinogram, Scanner(photons), rng), seed=1)
    extra = many(lambda rng: extra_noise(sinogram, Scanner(photons), dose, rng), seed=2)
    less = many(lambda rng: scan_noise(sinogram, Scanner(dose * photons), rng), seed=3)
    assert sd(scan + extra, where) == pytest.approx(sd(less, where), rel=0.04)
    # Behind rays that starve the mean moves as well.
    assert (scan + extra)[:, where].mean() == pytest.approx(less[:, where].mean(), abs=0.05 * sd(less, where))


def as_measured(sinogram, photons, electronic_noise, dose, rng):
    """Brute force: counts at full dose and at less, from the elements of the scanner one ray stands for."""
    elements = sinogram.pixel_mm * 1160 / sinogram.views
    counts = photons * elements * np.exp(-sinogram.values.astype(float))
    measured = rng.poisson(dose * counts) + electronic_noise * math.sqrt(elements) * rng.standard_normal(counts.shape)
    noise = -np.log(np.maximum(measured, 1) / dose / (photons * elements)) - sinogram.values
    return back_project(noise, sinogram)


@pytest.mark.parametrize("electronic_noise", [0.0, 20.0])
@pytest.mark.parametrize("dose", [1.0, 0.2])
def test_noise_agrees_with_counts_drawn_ray_by_ray(cylinder, electronic_noise, dose):
    photons = 4000
    scanner = Scanner(photons * dose, electronic_noise)
    brute = many(lambda rng: as_measured(cylinder, photons, electronic_noise, dose, rng))
    noise = many(lambda rng: scan_noise(cylinder, scanner, rng))
    assert sd(noise) == pytest.approx(sd(brute), rel=0.03)


def test_electronic_noise_is_inserted_for_the_dose(cylinder):
    """It weighs more at less dose, because it does not shrink with the counts."""
    brute = [many(lambda rng, dose=dose: as_measured(cylinder, 20_000, 20.0, dose, rng)) for dose in (1.0, 0.2)]
    extra = many(lambda rng: extra_noise(cylinder, Scanner(20_000, 20.0), 0.2, rng))
    without = many(lambda rng: extra_noise(cylinder, Scanner(20_000), 0.2, rng))
    assert sd(extra) == pytest.approx(math.sqrt(sd(brute[1]) ** 2 - sd(brute[0]) ** 2), rel=0.03)
    assert sd(without) < 0.8 * sd(extra)


def one_ray(counts, photons=1e4):
    """Many rays that all expect the same count; views and pixels as those of the scanner."""
    p = np.full((1000, 1160), np.log(photons / counts), np.float32)
    return Sinogram(p, 1.0, (1000, 1000), True)


@pytest.mark.parametrize("dose", [0.5, 0.1])
def test_gaussian_and_thinned_rays_agree_where_one_takes_over_from_the_other(dose):
    formula = math.sqrt((1 - dose) / STARVED_BELOW)
    for counts in (0.99 * STARVED_BELOW, 1.01 * STARVED_BELOW):
        noise = extra_ray_noise(one_ray(counts / dose), Scanner(1e4), dose, np.random.default_rng(1))
        assert noise.std() == pytest.approx(formula, rel=0.025)
        assert abs(noise.mean()) < 0.08 * formula


@pytest.mark.parametrize(
    ("counts", "dose", "electronic_noise"),
    [(400, 0.25, 0), (100, 0.1, 0), (12, 0.25, 0), (3, 0.25, 0), (12, 0.25, 3.0), (12, 0.8, 3.0)],
)
def test_rays_of_few_photons_have_the_statistics_of_thinned_counts(counts, dose, electronic_noise):
    """Photon by photon, by brute force."""
    rng = np.random.default_rng(2)
    noise = extra_ray_noise(one_ray(counts), Scanner(1e4, electronic_noise), dose, np.random.default_rng(1))
    full = rng.poisson(counts, 30_000)
    photons = np.arange(full.max()) < full[:, None]
    low = (photons & (rng.random(photons.shape) < dose)).sum(axis=1)
    own = electronic_noise * rng.standard_normal(len(full))
    # The low-dose scan has as much electronic noise; what the full dose shows of it already is part of it.
    new = electronic_noise * math.sqrt(1 - dose**2) * rng.standard_normal(len(full))
    expected = np.log(np.maximum(full + own, 1)) - np.log(np.maximum(low + dose * own + new, 1) / dose)
    assert noise.std() == pytest.approx(expected.std(), rel=0.03)
    assert noise.mean() == pytest.approx(expected.mean(), abs=0.06 * float(expected.std()))


@pytest.mark.parametrize("views", [120, 360])
def test_noise_does_not_depend_on_the_number_of_views(cylinder, views):
    scanner = Scanner(2e4, electronic_noise=30, bowtie_mm=200)
    other = project(disc((SIDE, SIDE), RADIUS), PIXEL_MM, views)
    expected = sd(many(lambda rng: extra_noise(cylinder, scanner, 0.3, rng)))
    assert sd(many(lambda rng: extra_noise(other, scanner, 0.3, rng))) == pytest.approx(expected, rel=0.03)


def test_noise_behind_a_kernel_does_not_depend_on_the_size_of_pixels():
    """With a kernel that ends far below what both pixels can show: without, smaller pixels are noisier."""
    scanner = Scanner(2e4, electronic_noise=30, bowtie_mm=200, kernel=Kernel([0, 0.03, 0.06], [1, 0.8, 0]))
    noise = []
    for pixel_mm in (1.25, 2.0):
        shape = (round(160 / pixel_mm),) * 2
        sinogram = project(disc(shape, 60 / pixel_mm), pixel_mm, VIEWS)
        images = many(lambda rng, s=sinogram: extra_noise(s, scanner, 0.3, rng), 30)
        noise.append(sd(images, distance(shape) * pixel_mm < 50))
    assert noise[0] == pytest.approx(noise[1], rel=0.05)


def test_behind_its_water_cylinder_the_bowtie_makes_all_rays_equally_bright():
    diameter = 240.0
    sinogram = project(disc((256, 256), diameter / 2 / 1.2), 1.2, views=90)
    counts, _ = expected_counts(sinogram, Scanner(1e5, bowtie_mm=diameter))
    inside = np.abs(sinogram.ray_mm) < 0.95 * diameter / 2
    bright = 1e5 * 1.2 * 1160 / 90
    expected = bright * math.exp(-MU_WATER_PER_MM * diameter)
    assert counts[inside] == pytest.approx(expected, rel=0.05)
    assert counts[np.abs(sinogram.ray_mm) > 1.05 * diameter / 2] == pytest.approx(expected, rel=0.05)
    # Without the cylinder: full light on the axis, by the chord less beside it.
    assert bowtie(np.array([0.0, 72.0, 120.0, 150.0]), diameter) == pytest.approx(
        MU_WATER_PER_MM * np.array([0, 240 - 2 * 96, 240, 240])
    )


def test_at_full_dose_there_is_no_extra_noise(cylinder):
    noise = extra_noise(cylinder, Scanner(10, 5), 1, np.random.default_rng(1))
    assert noise.shape == (SIDE, SIDE)
    assert not noise.any()


@pytest.mark.parametrize("photons", [1e5, 100])
def test_the_same_random_numbers_give_the_same_bytes(cylinder, photons):
    scanner = Scanner(photons, 2, 300, Kernel([0, 0.2], [1, 0]))
    for make in (scan_noise, lambda *given: extra_noise(given[0], given[1], 0.3, given[2])):
        first, again, other = (make(cylinder, scanner, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert first.dtype == np.float32
        assert first.tobytes() == again.tobytes()
        assert abs(np.corrcoef(first[MIDDLE], other[MIDDLE])[0, 1]) < 0.2


def test_given_normal_numbers_are_used_and_kept(cylinder):
    normals = np.random.default_rng(1).standard_normal(cylinder.values.shape, dtype=np.float32)
    before = normals.copy()
    noise = [extra_noise(cylinder, Scanner(1e6), 0.5, np.random.default_rng(seed), normals) for seed in (1, 2)]
    assert np.array_equal(normals, before)
    assert np.array_equal(*noise)
    assert np.allclose(extra_noise(cylinder, Scanner(1e6), 0.5, np.random.default_rng(1), -normals), -noise[0])


def test_metal_and_absurd_doses_give_finite_noise():
    hu = disc((64, 64), 25)
    hu[30:34, 10:54] = 30000
    sinogram = project(hu, 3.0, 60)
    assert sinogram.values.max() > 60
    with np.errstate(all="raise", under="ignore"):
        for dose in (0.999, 1e-6):
            assert np.isfinite(extra_noise(sinogram, Scanner(1e5, 10), dose, np.random.default_rng(1))).all()
        assert np.isfinite(scan_noise(sinogram, Scanner(0.1, 10), np.random.default_rng(1))).all()


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("photons", [0, -1, float("nan"), float("inf"), "many", None, True]),
        ("electronic_noise", [-1, float("nan"), "some", None]),
        ("bowtie_mm", [0, -3, float("inf"), "big", False]),
        ("views", [0, 9, 1.5, 10**6, "all", None, True]),
    ],
)
def test_senseless_scanners_are_refused(key, values):
    for value in values:
        with pytest.raises(UserError, match=f"`{key}`"):
            Scanner(**{"photons": 1e5, key: value})


@pytest.mark.parametrize("dose", [0, -0.5, 1.01, float("nan"), "half", None, True])
def test_a_dose_that_is_no_fraction_is_refused(cylinder, dose):
    with pytest.raises(UserError, match="`dose`"):
        extra_noise(cylinder, Scanner(1e5), dose, np.random.default_rng(1))
