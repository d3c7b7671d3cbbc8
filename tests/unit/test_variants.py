"""Gradient noise and dilation schedules against closed forms."""

import numpy as np
import pytest

from quietct.nn.variants import Dilation, GradientNoise, Variant, root_mean_square


@pytest.mark.parametrize(
    ("eta", "step", "sigma"),
    # Neelakantan et al. 2015: sigma² = eta / (1 + t)^0.55.
    [
        (0.01, 0, 0.1),
        (0.3, 0, 0.5477),
        (1.0, 0, 1.0),
        (0.01, 1000, 0.01496),
        (0.3, 10_000, 0.04351),
        (1.0, 100, 0.2811),
    ],
)
def test_absolute_noise_follows_the_schedule_of_the_paper(eta, step, sigma):
    noise = GradientNoise.from_config({"mode": "absolute", "eta": eta, "gamma": 0.55})
    assert noise.sigma(step, np.zeros(5)) == pytest.approx(sigma, rel=1e-3)


def test_relative_noise_is_a_falling_fraction_of_the_gradient():
    gradient = np.array([3.0, -4.0])
    noise = GradientNoise.from_config({"mode": "relative", "ratio": 0.2, "gamma": 0.5})
    assert noise.sigma(0, gradient) == pytest.approx(0.2 * np.sqrt(12.5))
    assert noise.sigma(15, gradient) == pytest.approx(0.2 * np.sqrt(12.5) / 2)


def test_noise_is_added_to_every_gradient_with_the_stated_deviation():
    weights, bias = np.full((300, 300), 2.0), np.full(1000, -1.0)
    noise = GradientNoise("absolute", 0.09, 0.55)
    sigma = noise.add([(weights, bias)], 0, np.random.default_rng(1))
    assert sigma == pytest.approx(0.3)
    assert weights.mean() == pytest.approx(2, abs=0.005)
    assert weights.std() == pytest.approx(0.3, rel=0.01)
    assert bias.std() == pytest.approx(0.3, rel=0.1)


def test_relative_noise_uses_each_arrays_own_size():
    large, small = np.full(50_000, 10.0), np.full(50_000, 0.1)
    sigma = GradientNoise("relative", 0.5, 0.55).add([(large, small)], 0, np.random.default_rng(1))
    assert large.std() == pytest.approx(5, rel=0.02)
    assert small.std() == pytest.approx(0.05, rel=0.02)
    assert sigma == pytest.approx(np.sqrt((25 + 0.0025) / 2))


@pytest.mark.parametrize(("epoch", "factor"), [(0, 0.05), (10, 0.05 / 1.7), (99, 0.05 / 7.93)])
def test_dilation_falls_as_in_the_article(epoch, factor):
    assert Dilation(p=0.05, d=0.07).factor(epoch) == pytest.approx(factor)


def test_variant_is_plain_unless_it_has_parts():
    assert Variant.from_config({"learning_rate": 0.1}) == Variant()
    both = Variant.from_config(
        {"dilation": {"p": 0.1, "d": 0.2}, "gradient_noise": {"mode": "relative", "ratio": 0.3, "gamma": 0.55}}
    )
    assert both == Variant(GradientNoise("relative", 0.3, 0.55), Dilation(0.1, 0.2))


def test_root_mean_square():
    assert root_mean_square(np.array([1.0, -7.0])) == pytest.approx(5)
