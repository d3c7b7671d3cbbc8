"""The channelised Hotelling observer against closed forms for a known signal in Gaussian noise."""

import numpy as np
import pytest
from scipy.stats import norm

from quietct.evaluation.observer import (
    CHANNELS,
    area_under_curve,
    channel_outputs,
    d_prime,
    detectability,
    hotelling,
    laguerre_gauss,
    scores,
)

SIDE, WIDTH = 21, 6.0


def signal():
    """A blurred disc, which is near the first channel's shape."""
    at = np.arange(SIDE) - SIDE // 2
    return 1 / (1 + np.exp((np.hypot(at[:, None], at) - 3) / 0.7))


def ramp_covariance():
    """Of noise whose power is that of filtered back-projection, the ramp under a Hann window, pixel by pixel."""
    f = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
    correlation = np.fft.ifft2(f * np.cos(np.pi * np.minimum(f, 0.5)) ** 4 + 1e-4).real
    row, column = (axis.ravel() for axis in np.mgrid[0:SIDE, 0:SIDE])
    return 1e4 * correlation[row[:, None] - row, column[:, None] - column]


def images(covariance, amplitude, pairs, seed):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((2, pairs, SIDE**2)) @ np.linalg.cholesky(covariance).T
    noise = noise.reshape(2, pairs, SIDE, SIDE)
    return noise[0] + amplitude * signal(), noise[1]


def through_channels(covariance, amplitude):
    """The Hotelling formula on the exact mean and covariance of the channels' outputs."""
    channels = laguerre_gauss(SIDE, WIDTH)
    seen = (channels - channels.mean(axis=(1, 2), keepdims=True)).reshape(CHANNELS, -1)
    mean = amplitude * seen @ signal().ravel()
    return np.sqrt(mean @ np.linalg.solve(seen @ covariance @ seen.T, mean))


def test_channels_are_orthonormal():
    flat = laguerre_gauss(101, 20.0).reshape(CHANNELS, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(CHANNELS), atol=1e-6)


def test_channels_do_not_see_how_bright_a_region_is():
    regions = np.random.default_rng(1).normal(0, 9, (4, SIDE, SIDE))
    channels = laguerre_gauss(SIDE, WIDTH)
    np.testing.assert_allclose(channel_outputs(regions + 700, channels), channel_outputs(regions, channels))


def test_in_white_noise_d_prime_is_the_signals_length_over_sigma():
    sigma = 5.0
    covariance = sigma**2 * np.eye(SIDE**2)
    contrast = signal() - signal().mean()
    ideal = 2.5 * np.linalg.norm(contrast) / sigma
    assert through_channels(covariance, 2.5) == pytest.approx(ideal, rel=0.01)  # the channels lose next to nothing
    present, absent = images(covariance, 2.5, 2000, seed=2)
    channels = laguerre_gauss(SIDE, WIDTH)
    found = detectability(channel_outputs(present, channels), channel_outputs(absent, channels), np.arange(2000) % 10)
    assert found.d_prime == pytest.approx(ideal, rel=0.05)
    assert found.auc == pytest.approx(norm.cdf(found.d_prime / np.sqrt(2)), abs=0.01)


def test_in_coloured_noise_d_prime_is_that_of_the_hotelling_formula():
    covariance = ramp_covariance()
    contrast = (signal() - signal().mean()).ravel()
    ideal = 10 * np.sqrt(contrast @ np.linalg.solve(covariance, contrast))
    expected = through_channels(covariance, 10)
    assert 0.9 * ideal < expected <= ideal
    present, absent = images(covariance, 10, 2000, seed=3)
    channels = laguerre_gauss(SIDE, WIDTH)
    found = detectability(channel_outputs(present, channels), channel_outputs(absent, channels), np.arange(2000) % 10)
    assert found.d_prime == pytest.approx(expected, rel=0.05)


def few_images(separation, seed, pairs=60):
    rng = np.random.default_rng(seed)
    present, absent = rng.standard_normal((2, pairs, CHANNELS))
    present[:, 0] += separation
    return present, absent, np.arange(pairs) // 12


def test_nothing_to_detect_is_not_detected_though_the_template_fits_its_own_images():
    fair, unfair = [], []
    for seed in range(40):
        present, absent, group = few_images(0, seed)
        fair.append(d_prime(*scores(present, absent, group)))
        template = hotelling(present, absent)
        unfair.append(d_prime(present @ template, absent @ template))
    assert abs(np.mean(fair)) < 0.1
    assert np.mean(unfair) > 0.35


def test_scores_of_different_templates_have_a_common_zero():
    """What all images share in a channel shifts the scores of each template by another amount."""
    present, absent, group = few_images(2.0, 7)
    shifted = scores(present + 100, absent + 100, group)
    np.testing.assert_allclose(shifted, scores(present, absent, group), atol=1e-9)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    found = [detectability(*few_images(2.0, seed, pairs=120)) for seed in range(60)]
    assert np.mean([one.d_prime for one in found]) == pytest.approx(2, abs=0.15)
    assert np.mean([one.interval[0] <= 2 <= one.interval[1] for one in found]) > 0.85
    widths = [one.interval[1] - one.interval[0] for one in found]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std([one.d_prime for one in found]), rel=0.12)


def test_the_area_under_the_curve_counts_ties_half():
    assert area_under_curve(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1
    assert area_under_curve(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0.5


def test_a_channel_that_sees_nothing_does_no_harm():
    present, absent, group = few_images(2.0, 5)
    with_nothing = [np.column_stack([side, np.zeros(len(side))]) for side in (present, absent)]
    assert detectability(*with_nothing, group).d_prime == pytest.approx(detectability(present, absent, group).d_prime)


def test_images_that_are_all_alike_are_refused():
    with pytest.raises(ValueError, match="equal"):
        detectability(np.zeros((60, CHANNELS)), np.zeros((60, CHANNELS)), np.arange(60) // 12)
