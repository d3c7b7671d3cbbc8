"""Gradient noise and dilation schedules against closed forms."""

import numpy as np
import pytest
from scipy import stats

from quietct.nn.variants import Dilation, GradientNoise, Variant, standard_normal


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
    assert noise.sigma(step, 7.0) == pytest.approx(sigma, rel=1e-3)


def test_relative_noise_is_a_falling_fraction_of_the_gradient():
    noise = GradientNoise.from_config({"mode": "relative", "ratio": 0.2, "gamma": 0.5})
    assert noise.sigma(0, 5.0) == pytest.approx(1.0)
    assert noise.sigma(15, 5.0) == pytest.approx(0.5)


def test_noise_is_added_to_every_gradient_with_the_stated_deviation():
    gradient = np.repeat([2.0, -1.0], [90_000, 1000])
    weights, bias = gradient[:90_000], gradient[90_000:]
    noise = GradientNoise("absolute", 0.09, 0.55)
    sigma, ratio = noise.add(gradient, [slice(0, 90_000), slice(90_000, 91_000)], 0, np.random.default_rng(1))
    assert sigma == pytest.approx(0.3)
    assert ratio == pytest.approx(0.3 / np.sqrt((90_000 * 4 + 1000) / 91_000))
    assert weights.mean() == pytest.approx(2, abs=0.005)
    assert weights.std() == pytest.approx(0.3, rel=0.01)
    assert bias.std() == pytest.approx(0.3, rel=0.1)


def test_relative_noise_uses_each_arrays_own_size():
    gradient = np.repeat(np.array([10, 0.1], np.float32), 50_000)
    arrays = [slice(0, 50_000), slice(50_000, 100_000)]
    sigma, _ = GradientNoise("relative", 0.5, 0.55).add(gradient, arrays, 0, np.random.default_rng(1))
    assert gradient[:50_000].std() == pytest.approx(5, rel=0.02)
    assert gradient[50_000:].std() == pytest.approx(0.05, rel=0.02)
    assert sigma == pytest.approx(np.sqrt((25 + 0.0025) / 2))


def test_noise_relative_to_a_gradient_of_zeros_is_zero():
    gradient, noise = np.zeros(5, np.float32), GradientNoise("relative", 0.5, 0.55)
    assert noise.add(gradient, [slice(0, 4), slice(4, 5)], 0, np.random.default_rng(1)) == (0, np.inf)
    assert not gradient.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_drawn_numbers_are_normal_and_independent(dtype):
    draws = standard_normal(400_001, np.random.default_rng(5), dtype)
    assert (draws.shape, draws.dtype) == ((400_001,), dtype)
    assert stats.kstest(draws, "norm").pvalue > 0.01
    assert stats.skew(draws) == pytest.approx(0, abs=0.015)
    assert stats.kurtosis(draws) == pytest.approx(0, abs=0.03)
    # The numbers of a pair share their radius; neither they nor their squares may be correlated.
    first, second = draws[:200_000], draws[200_001:]
    for power in (1, 2):
        assert np.corrcoef(first[:200_000] ** power, second**power)[0, 1] == pytest.approx(0, abs=0.01)


def test_a_drawn_number_is_finite_even_where_the_uniform_one_is_zero():
    class Zeros:
        def random(self, shape, dtype):
            return np.zeros(shape, dtype)

    np.testing.assert_array_equal(standard_normal(3, Zeros(), np.float32), [0, 0, 0])


@pytest.mark.parametrize(("epoch", "factor"), [(0, 0.05), (10, 0.05 / 1.7), (99, 0.05 / 7.93)])
def test_dilation_falls_as_in_the_article(epoch, factor):
    assert Dilation(p=0.05, d=0.07).factor(epoch) == pytest.approx(factor)


def test_variant_is_plain_unless_it_has_parts():
    assert Variant.from_config({"learning_rate": 0.1}) == Variant()
    both = Variant.from_config(
        {"dilation": {"p": 0.1, "d": 0.2}, "gradient_noise": {"mode": "relative", "ratio": 0.3, "gamma": 0.55}}
    )
    assert both == Variant(GradientNoise("relative", 0.3, 0.55), Dilation(0.1, 0.2))
