"""Power spectrum, streaks and kernels of the simulated noise."""

from itertools import pairwise

import numpy as np
import pytest
from skimage.transform import iradon
from water import disc, distance, many, shoulders

from quietct.ct.low_dose import Kernel, Scanner, extra_noise, scan_noise
from quietct.ct.projection import MU_WATER_PER_MM, inside_circle, project
from quietct.errors import UserError

SIDE, PIXEL_MM, VIEWS = 112, 2.0, 180
MIDDLE = distance((SIDE, SIDE)) < 12


@pytest.fixture(scope="module")
def cylinder():
    """A centred cylinder of water, 184 mm across."""
    return project(disc((SIDE, SIDE), 46), PIXEL_MM, VIEWS)


def ring_power(noise, pixel_mm, edges):
    """Mean noise power (HU² mm²) in rings of spatial frequency (1/mm), of the square in the middle."""
    side = 64
    first = noise.shape[1] // 2 - side // 2
    region = noise[:, first : first + side, first : first + side]
    power = (np.abs(np.fft.fft2(region)) ** 2).mean(axis=0) * pixel_mm**2 / side**2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side, pixel_mm), np.fft.fftfreq(side, pixel_mm)))
    total = power.sum() / (side * pixel_mm) ** 2
    assert total == pytest.approx((region**2).mean(), rel=1e-4)  # Parseval
    rings = [(frequency >= a) & (frequency < b) for a, b in pairwise(edges)]
    return np.array([power[ring].mean() for ring in rings]), np.array([frequency[ring].mean() for ring in rings])


def test_the_noise_power_is_a_ramp_that_the_interpolation_bends(cylinder):
    noise = many(lambda rng: scan_noise(cylinder, Scanner(1e5), rng), 60)
    edges = np.linspace(0.05, 0.4, 15) / PIXEL_MM
    power, frequency = ring_power(noise, PIXEL_MM, edges)
    # The ramp times the mean power of linear interpolation between rays.
    expected = frequency * (2 + np.cos(2 * np.pi * frequency * PIXEL_MM))
    ratio = power / expected
    assert np.abs(ratio / ratio.mean() - 1).max() < 0.1
    low, _ = ring_power(noise, PIXEL_MM, np.array([0.0, 0.02]) / PIXEL_MM)
    assert low[0] < 0.1 * power.max()


def neighbours(noise, where):
    """Correlation of pixels with their right and lower neighbours."""
    down, right = (
        (noise[:, where] * np.roll(noise, -1, axis)[:, where]).mean() / (noise[:, where] ** 2).mean() for axis in (1, 2)
    )
    return right, down


def test_noise_between_shoulders_is_streaks_and_in_a_disc_is_not(cylinder):
    sinogram = project(shoulders(SIDE, 4.5), 4.5, VIEWS)
    right, down = neighbours(many(lambda rng: extra_noise(sinogram, Scanner(1e7), 0.5, rng), 10), MIDDLE)
    assert right > 0.8
    assert down < -0.3
    right, down = neighbours(many(lambda rng: extra_noise(cylinder, Scanner(1e7), 0.5, rng), 40), MIDDLE)
    assert right == pytest.approx(down, abs=0.05)
    assert abs(right) < 0.25


def test_a_hann_kernel_gives_the_noise_of_a_reconstruction_with_the_hann_filter(cylinder):
    frequency = np.linspace(0, 0.5 / PIXEL_MM, 100)
    hann = Kernel(frequency, np.cos(np.pi * frequency * PIXEL_MM) ** 2)
    made = many(lambda rng: scan_noise(cylinder, Scanner(1e5, kernel=hann), rng))
    variance = np.exp(cylinder.values) / (1e5 * PIXEL_MM * 1160 / VIEWS)
    to_hu = 1000 / MU_WATER_PER_MM / PIXEL_MM

    def reconstruct(rng):
        noise = rng.standard_normal(variance.shape) * np.sqrt(variance)
        return iradon(noise, filter_name="hann", output_size=SIDE, circle=False) * to_hu

    real = many(reconstruct)
    assert made[:, MIDDLE].std() == pytest.approx(real[:, MIDDLE].std(), rel=0.04)
    edges = np.linspace(0.02, 0.375, 13) / PIXEL_MM
    ratio = ring_power(made, PIXEL_MM, edges)[0] / ring_power(real, PIXEL_MM, edges)[0]
    assert np.sqrt(np.mean((ratio - 1) ** 2)) < 0.12


def test_a_kernel_multiplies_each_frequency_by_its_gain_alike_in_all_directions():
    kernel = Kernel([0.0, 0.1, 0.2], [1.0, 2.0, 0.5])
    rows, columns = np.mgrid[:60, :80]
    waves = [(3, 4, 1.707), (6, 0, 2.0), (0, 8, 2.0), (0, 12, 1.25), (0, 0, 1.0), (25, 20, 0.0)]
    for periods_down, periods_right, gain in waves:
        # 6 periods in 60 pixels of 1 mm and 8 in 80 are 0.1 per mm; 3 and 4 in both directions 0.0707.
        wave = np.cos(2 * np.pi * (periods_down * rows / 60 + periods_right * columns / 80))
        assert np.allclose(kernel.apply(wave, 1.0), gain * wave, atol=1e-3)


def test_a_kernel_leaves_what_lies_outside_the_circle_without_noise(cylinder):
    noise = scan_noise(cylinder, Scanner(1e4, kernel=Kernel([0, 0.1], [1, 0])), np.random.default_rng(1))
    assert not noise[~inside_circle(noise.shape)].any()
    assert noise[inside_circle(noise.shape)].all()


@pytest.mark.parametrize(
    ("frequency", "gain", "sentence"),
    [
        ([0, 0.1], [1], "2 frequencies but 1 gains"),
        ([0.1, 0], [1, 1], "must ascend"),
        ([0, 0.1], [1, -1], "`gain` must be a list of numbers"),
        ([0, float("nan")], [1, 1], "`frequency_per_mm` must be a list"),
        ([], [], "must be a list"),
        ("01", [1, 1], "must be a list"),
        (None, [1, 1], "must be a list"),
    ],
)
def test_a_senseless_kernel_is_refused(frequency, gain, sentence):
    with pytest.raises(UserError, match=sentence):
        Kernel(frequency, gain)
