"""Noise power spectra against closed forms, direct sums and SciPy's own estimate."""

import numpy as np
import pytest
from scipy.signal import periodogram

from quietct.evaluation.noise_power import (
    detrended,
    mean_frequency,
    noise_power,
    peak_frequency,
    radial_frequency,
    repeat_noise,
    ring_average,
)

PIXEL_MM = 0.7


def white(shape, sigma=10.0, seed=1):
    return np.random.default_rng(seed).normal(0, sigma, shape)


def hann_filtered(side, count, seed=2):
    """Regions of white noise of variance 1 sent through the gain 100 sqrt(f) cos²(pi f d), cut from wider images."""
    noise = np.random.default_rng(seed).standard_normal((count, 4 * side, 4 * side), dtype=np.float32)
    f = radial_frequency(noise.shape[1:], PIXEL_MM)
    gain = 100 * np.sqrt(f) * np.cos(np.pi * np.minimum(f * PIXEL_MM, 0.5)) ** 2
    filtered = np.fft.ifft2(np.fft.fft2(noise) * gain).real
    return filtered.reshape(count, 4, side, 4, side).swapaxes(2, 3).reshape(-1, side, side)


def test_white_noise_has_the_same_power_at_every_frequency():
    power = noise_power(white((400, 32, 32)), PIXEL_MM).mean(axis=0)
    assert power.mean() == pytest.approx(100 * PIXEL_MM**2, rel=0.01)
    assert power.std() / power.mean() < 0.08  # 1 / sqrt(400) of pure chance is 0.05, real frequencies have 0.07
    _, rings = ring_average(power, PIXEL_MM)
    np.testing.assert_allclose(rings[2:], 100 * PIXEL_MM**2, rtol=0.04)


@pytest.mark.parametrize("shape", [(32, 32), (33, 48)])
def test_the_sum_over_frequencies_is_the_mean_square(shape):
    noise = white((3, *shape)) + 4
    cell = 1 / (shape[0] * shape[1] * PIXEL_MM**2)
    total = noise_power(noise, PIXEL_MM).sum(axis=(1, 2)) * cell
    np.testing.assert_allclose(total, (noise**2).mean(axis=(1, 2)))


def test_filtered_noise_has_the_power_of_its_filter():
    power = noise_power(hann_filtered(64, 60), PIXEL_MM).mean(axis=0)
    frequency, rings = ring_average(power, PIXEL_MM)
    truth = 1e4 * frequency * np.cos(np.pi * frequency * PIXEL_MM) ** 4 * PIXEL_MM**2
    middle = (frequency > 0.07) & (frequency < 0.5)
    np.testing.assert_allclose(rings[middle], truth[middle], rtol=0.05)
    assert rings[0] < 0.2 * rings.max()  # the region's edges leak a little
    # d/df of f cos⁴(pi f d) vanishes where 1 = 4 pi f d tan(pi f d).
    assert peak_frequency(frequency, rings) == pytest.approx(0.15 / PIXEL_MM, abs=1.5 / (64 * PIXEL_MM))
    assert mean_frequency(frequency, rings) == pytest.approx((frequency * truth).sum() / truth.sum(), rel=0.02)


def test_an_independent_periodogram_agrees():
    noise = white((5, 24, 40))
    # SciPy's along one axis; a density on one axis of the other's Fourier transform is a density in the plane.
    along = np.fft.fft(noise, axis=1) * np.sqrt(PIXEL_MM / 24)
    expected = periodogram(along, 1 / PIXEL_MM, detrend=False, return_onesided=False, axis=2)[1]
    np.testing.assert_allclose(noise_power(noise, PIXEL_MM), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("shape", [(16, 16), (15, 15), (17, 17), (12, 20)])
def test_rings_are_those_of_a_direct_loop(shape, corners):
    power = np.random.default_rng(3).random((2, *shape))
    sums, frequencies, counts = {}, {}, {}
    step = 1 / (max(shape) * PIXEL_MM)
    for i, v in enumerate(np.fft.fftfreq(shape[0], PIXEL_MM)):
        for j, u in enumerate(np.fft.fftfreq(shape[1], PIXEL_MM)):
            f = (u**2 + v**2) ** 0.5
            k = round(f / step)
            sums[k] = sums.get(k, 0) + power[:, i, j]
            frequencies[k] = frequencies.get(k, 0) + f
            counts[k] = counts.get(k, 0) + 1
    frequency, rings = ring_average(power, PIXEL_MM, corners)
    limit = (2**0.5 if corners else 1) / (2 * PIXEL_MM)
    inside = [k for k in sorted(sums) if k * step <= limit + 1e-9]
    np.testing.assert_allclose(frequency, [frequencies[k] / counts[k] for k in inside])
    np.testing.assert_allclose(rings, np.transpose([sums[k] / counts[k] for k in inside]))


def test_a_sine_is_found_at_its_frequency():
    columns = np.arange(64) * PIXEL_MM
    sine = np.tile(np.sin(2 * np.pi * 10 / (64 * PIXEL_MM) * columns), (64, 1))
    frequency, rings = ring_average(noise_power(sine, PIXEL_MM), PIXEL_MM)
    assert peak_frequency(frequency, rings) == pytest.approx(10 / (64 * PIXEL_MM), rel=0.02)


def test_detrending_removes_a_paraboloid_and_leaves_the_rest():
    y, x = np.mgrid[:30, :40]
    trend = 5 + 0.3 * x - 0.2 * y + 0.01 * x**2 - 0.02 * y**2 + 0.005 * x * y
    np.testing.assert_allclose(detrended(np.stack([trend, -trend])), 0, atol=1e-10)
    noise = white((50, 30, 40))
    np.testing.assert_allclose(detrended(noise + trend), detrended(noise), atol=1e-9)
    # The fit takes six degrees of freedom of 1200.
    assert (detrended(noise) ** 2).sum() / (noise**2).sum() == pytest.approx(1 - 6 / 1200, abs=0.0015)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_noise_of_repeats_is_independent_and_has_the_power_of_one_scan(n):
    anatomy = np.random.default_rng(5).uniform(-1000, 1000, (64, 64))
    noise = repeat_noise(anatomy + white((n, 64, 64), sigma=8.0))
    covariance = np.cov(noise.reshape(n - 1, -1)).reshape(n - 1, n - 1)
    np.testing.assert_allclose(covariance, 64 * np.eye(n - 1), atol=5)  # three standard errors
    np.testing.assert_allclose(repeat_noise([anatomy] * n), 0, atol=1e-9)


def test_noise_of_a_pair_is_the_difference_over_root_two():
    first, second = white((2, 8, 8))
    np.testing.assert_allclose(repeat_noise([first, second]), [(first - second) / np.sqrt(2)])
