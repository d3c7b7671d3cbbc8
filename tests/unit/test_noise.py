import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quietct.ct.noise import add_noise, gaussian
from quietct.ct.volume import new_volume
from quietct.errors import UserError

WINDOW = (-1350, 150)


@pytest.fixture
def volume(tmp_path):
    """Three slices of 200 x 200: air at -1000, with a square of 50, -300 and 900 HU."""
    with new_volume(tmp_path / "clean.npy", (3, 200, 200)) as clean:
        for k, hu in enumerate((50, -300, 900)):
            clean[k] = np.pad(np.full((10, 10), hu), (50, 140), constant_values=-1000)
    return tmp_path / "clean.npy"


def noisy(volume, name="noisy", series="a", **settings):
    settings = {"fraction": 0.1, "scale": "grey", "seed": 1} | settings
    path = volume.parent / f"{name}.npy"
    add_noise(volume, path, "gaussian", settings, WINDOW, series)
    return np.load(path).astype(float)


@pytest.mark.parametrize(
    ("scale", "sigmas"),
    [
        # 0.1 x the grey maximum (0..1 on -1350..150) x 1500 HU; 900 HU is white like everything above 150.
        ("grey", (0.1 * 1400, 0.1 * 1050, 0.1 * 1500)),
        ("hu", (0.1 * 50, 0.0, 0.1 * 900)),
    ],
)
def test_sigma_is_the_fraction_of_each_slice_maximum(volume, scale, sigmas):
    noise = noisy(volume, scale=scale) - np.load(volume)
    for image, sigma in zip(noise, sigmas, strict=True):
        assert image.std() == pytest.approx(np.sqrt(sigma**2 + (1 / 12) * (sigma > 0)), rel=0.02)
        assert abs(image.mean()) < 4 * max(sigma, 1e-9) / 200


def test_the_articles_noise_is_three_tenths_of_the_maximum(volume):
    noise = noisy(volume, fraction=0.3) - np.load(volume)
    assert noise[2].std() == pytest.approx(450, rel=0.02)


def test_noise_is_white_and_gaussian(volume):
    noise = (noisy(volume, fraction=0.1) - np.load(volume))[2]
    noise /= noise.std()
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 0.02
    assert abs((noise[1:] * noise[:-1]).mean()) < 0.02
    assert (noise**4).mean() == pytest.approx(3, abs=0.15)


def test_no_fraction_no_noise(volume):
    assert np.array_equal(noisy(volume, fraction=0), np.load(volume))


def test_noise_depends_on_seed_and_series_alone(volume):
    first = noisy(volume)
    assert np.array_equal(noisy(volume, "again"), first)
    for change in ({"seed": 2}, {"series": "b"}):
        other = noisy(volume, "other", **change)
        assert abs(np.corrcoef((first - np.load(volume))[0].ravel(), (other - np.load(volume))[0].ravel())[0, 1]) < 0.02


def test_noise_of_a_slice_does_not_depend_on_the_others(volume, tmp_path):
    with new_volume(tmp_path / "short.npy", (2, 200, 200)) as short:
        short[0] = 77
        short[1] = np.load(volume)[1]
    add_noise(tmp_path / "short.npy", tmp_path / "n.npy", "gaussian", {"fraction": 0.1, "seed": 1}, WINDOW, "a")
    assert np.array_equal(np.load(tmp_path / "n.npy")[1], noisy(volume)[1])


def test_slices_get_different_noise(volume):
    noise = noisy(volume) - np.load(volume)
    assert abs(np.corrcoef(noise[0].ravel(), noise[2].ravel())[0, 1]) < 0.02


@given(st.sampled_from([-0.1, float("nan"), float("inf"), "much", None, True]))
@settings(max_examples=10, deadline=None)
def test_a_senseless_fraction_is_refused(fraction):
    with pytest.raises(UserError, match="`fraction`"):
        gaussian(np.zeros((2, 2), np.float32), np.random.default_rng(0), {"fraction": fraction}, WINDOW)


def test_an_unknown_scale_or_model_is_refused_and_leaves_nothing(volume):
    with pytest.raises(UserError, match=r"`scale` is 'log'.*grey or hu"):
        noisy(volume, scale="log")
    with pytest.raises(UserError, match=r"`model` is 'salt'.*gaussian"):
        add_noise(volume, volume.parent / "noisy.npy", "salt", {}, WINDOW, "a")
    assert [path.name for path in volume.parent.iterdir()] == ["clean.npy"]


def test_extreme_noise_stays_within_int16(tmp_path):
    with new_volume(tmp_path / "clean.npy", (1, 50, 50)) as clean:
        clean[:] = 30000
    add_noise(tmp_path / "clean.npy", tmp_path / "n.npy", "gaussian", {"fraction": 1.0, "scale": "hu"}, WINDOW, "a")
    image = np.load(tmp_path / "n.npy")
    assert (image.min(), image.max()) == (-32767, 32767)
