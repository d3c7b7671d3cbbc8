"""The classical denoisers: what each must do to any image, and that tuning finds the best setting."""

from __future__ import annotations

import json
import logging
import pickle
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from quietct import methods
from quietct.errors import UserError
from quietct.evaluation.baselines import (
    BASELINES,
    bind,
    load_baseline,
    noise_sigma,
)
from quietct.evaluation.psnr import psnr_db
from quietct.evaluation.tuning import edges, spread_slices, tune_baseline
from quietct.methods import missing_baselines

WINDOW = (-1350, 150)
SETTINGS = {
    "gaussian": {"sigma_px": 1.5},
    "median": {"size_px": 5},
    "bilateral": {"sigma_px": 2.0, "range_factor": 3},
    "nl_means": {"patch_px": 7, "distance_px": 5, "h_factor": 0.6},
    "tv": {"weight_factor": 1.0},
    "wavelet": {"threshold_factor": 3.25, "shifts": 2},
    "bm3d": {"sigma_factor": 1.0},
}
needs_bm3d = pytest.mark.skipif(
    bool(missing_baselines(["bm3d"])), reason="needs the package bm3d: pip install bm3d (non-commercial use only)"
)


def each(*without):
    """All baselines but some, as parameters of a test; those without their package are skipped."""
    names = sorted(set(BASELINES) - set(without))
    return [pytest.param(name, marks=needs_bm3d) if name == "bm3d" else name for name in names]


def thorax(size=96):
    """A rough chest slice in HU: air, soft tissue, two lungs and a spine."""
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.where((rows / 0.7) ** 2 + (columns / 0.9) ** 2 < 1, 40.0, -1000.0)
    for side in (-0.42, 0.42):
        image[(rows / 0.5) ** 2 + ((columns - side) / 0.3) ** 2 < 1] = -850
    image[(rows - 0.45) ** 2 + columns**2 < 0.01] = 400
    return image.astype(np.float32)


def with_noise(image, sigma, seed=0):
    return (image + np.random.default_rng(seed).normal(0, sigma, image.shape)).astype(np.float32)


def rmse(image, reference):
    return float(np.sqrt(np.mean((np.asarray(image, float) - reference) ** 2)))


def test_every_baseline_has_settings_here():
    assert set(SETTINGS) == set(BASELINES)


@pytest.mark.parametrize("baseline", each())
@pytest.mark.parametrize("sigma", [40, 150])
def test_noise_in_a_lung_grows_weaker_and_nothing_grows_brighter(baseline, sigma):
    clean = thorax()
    noisy = with_noise(clean, sigma)
    denoised = bind(baseline, SETTINGS[baseline])(noisy)
    lung = np.s_[40:56, 24:32]
    assert denoised.dtype == np.float32
    assert rmse(denoised[lung], clean[lung]) < 0.5 * rmse(noisy[lung], clean[lung])
    assert denoised.mean() == pytest.approx(noisy.mean(), abs=1.5)


@pytest.mark.parametrize("baseline", each("gaussian", "median"))
@pytest.mark.parametrize("sigma", [40, 150])
def test_edges_survive_what_claims_to_preserve_them(baseline, sigma):
    clean = thorax()
    noisy = with_noise(clean, sigma)
    assert rmse(bind(baseline, SETTINGS[baseline])(noisy), clean) < 0.75 * rmse(noisy, clean)


@pytest.mark.parametrize("baseline", each())
def test_a_flat_noisy_image_keeps_its_mean_and_loses_most_noise(baseline):
    noisy = with_noise(np.full((96, 96), -800, np.float32), 100, seed=3)
    denoised = bind(baseline, SETTINGS[baseline])(noisy)
    assert denoised.mean() == pytest.approx(noisy.mean(), abs=1)
    assert denoised.std() < 0.35 * noisy.std()


@pytest.mark.parametrize("baseline", each())
@pytest.mark.parametrize("level", [-1000, 0, 40])
def test_a_constant_image_stays_constant(baseline, level):
    image = np.full((32, 40), level, np.int16)
    np.testing.assert_allclose(bind(baseline, SETTINGS[baseline])(image), image, atol=1e-3)


@pytest.mark.parametrize("baseline", each())
def test_adding_a_constant_adds_it_to_the_result(baseline):
    noisy = with_noise(thorax(64), 60)
    denoise = bind(baseline, SETTINGS[baseline])
    np.testing.assert_allclose(denoise(noisy + 1500), denoise(noisy) + 1500, atol=0.5)


@pytest.mark.parametrize("baseline", each("gaussian", "median"))
def test_settings_scale_with_the_noise(baseline):
    noisy = with_noise(thorax(64), 60)
    denoise = bind(baseline, SETTINGS[baseline])
    np.testing.assert_allclose(denoise(3 * noisy), 3 * denoise(noisy), atol=0.5)


@pytest.mark.parametrize("sigma", [16, 40, 150])
def test_the_noise_is_estimated_within_a_tenth(sigma):
    assert noise_sigma(with_noise(thorax(256), sigma)) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [40, 150])
def test_noise_behind_a_soft_kernel_is_estimated_within_a_quarter(sigma):
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(256, 256)), 0.8)
    noisy = thorax(256) + sigma * smooth / smooth.std()
    assert noise_sigma(noisy) == pytest.approx(sigma, rel=0.25)


def test_a_constant_slice_has_no_noise():
    assert noise_sigma(np.full((64, 64), -1000.3, np.float32)) == 0


def test_the_bilateral_filter_equals_its_definition():
    noisy = with_noise(thorax(24), 50)
    sigma_px, sigma_hu = 1.0, 3 * noise_sigma(noisy)
    padded = np.pad(noisy.astype(float), 2, mode="symmetric")
    expected = np.empty(noisy.shape)
    rows, columns = np.mgrid[-2:3, -2:3]
    for row, column in np.ndindex(noisy.shape):
        patch = padded[row : row + 5, column : column + 5]
        weight = np.exp(-(rows**2 + columns**2) / (2 * sigma_px**2) - (patch - patch[2, 2]) ** 2 / (2 * sigma_hu**2))
        expected[row, column] = (weight * patch).sum() / weight.sum()
    np.testing.assert_allclose(bind("bilateral", {"sigma_px": 1.0, "range_factor": 3})(noisy), expected, atol=0.05)


def test_a_bilateral_filter_blind_to_grey_values_is_the_gaussian():
    noisy = with_noise(thorax(64), 50)
    blind = bind("bilateral", {"sigma_px": 2.0, "range_factor": 1e4})(noisy)
    np.testing.assert_allclose(blind, gaussian_filter(noisy, 2.0, truncate=2.5), atol=0.05 * 1000)
    assert np.abs(blind - gaussian_filter(noisy, 2.0, truncate=2.5)).mean() < 0.05


@pytest.fixture
def training(tmp_path):
    """Write two training series of five slices: a soft thorax, with noise of 100 HU."""
    clean = np.stack([gaussian_filter(thorax(64), 1.5)] * 5).round().astype(np.int16)
    paths = {"clean": [], "noisy": []}
    for series in (1, 2):
        noisy = np.stack([with_noise(image, 100, seed=10 * series + k) for k, image in enumerate(clean)])
        for kind, volume in (("clean", clean), ("noisy", noisy.round().astype(np.int16))):
            paths[kind].append(tmp_path / f"{kind}{series}.npy")
            np.save(paths[kind][-1], volume)
    return paths


def tuned(training, path, baseline="gaussian", grid=None, **changes):
    grid = {"sigma_px": [0.3, 0.8, 6.0]} if grid is None else grid
    rules = {"tuning_slices": 3, "window_hu": WINDOW, **changes}
    tune_baseline(training["clean"], training["noisy"], path, baseline, grid, **rules)
    return json.loads(path.read_text())


def test_tuning_finds_the_best_of_the_grid(training, tmp_path):
    record = tuned(training, tmp_path / "g.json")
    assert record["baseline"] == "gaussian"
    assert record["settings"] == {"sigma_px": 0.8}
    assert [trial["settings"]["sigma_px"] for trial in record["tried"]] == [0.3, 0.8, 6.0]
    assert record["tuning_psnr_db"] == max(trial["psnr_db"] for trial in record["tried"])


def test_the_tuning_psnr_is_the_mean_over_the_chosen_slices(training, tmp_path):
    record = tuned(training, tmp_path / "g.json", grid={"sigma_px": [1.0]})
    pairs = spread_slices(training["clean"], training["noisy"], 3)
    expected = [psnr_db(gaussian_filter(noisy.astype(np.float32), 1.0), clean, WINDOW) for noisy, clean in pairs]
    assert record["tuning_psnr_db"] == pytest.approx(np.mean(expected), abs=1e-4)


def test_every_combination_of_the_grid_is_tried(training, tmp_path):
    grid = {"sigma_px": [1.0, 1.5], "range_factor": [2, 3, 4]}
    assert len(tuned(training, tmp_path / "b.json", "bilateral", grid)["tried"]) == 6


def test_of_equals_the_first_wins(training, tmp_path):
    grid = {"threshold_factor": [3.0], "shifts": [1], "name": ["haar", "db1"]}
    assert tuned(training, tmp_path / "w.json", "wavelet", grid)["settings"]["name"] == "haar"


def test_a_winner_at_the_end_of_its_list_is_warned_of(training, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        tuned(training, tmp_path / "g.json")
        assert not caplog.records
        tuned(training, tmp_path / "g.json", grid={"sigma_px": [0.8, 4.0, 6.0]})
    assert "sigma_px, 0.8, is at the end of its list" in caplog.text


def test_only_numbers_with_room_on_both_sides_have_ends():
    grid = {"a": [1, 2, 3], "b": [1, 2], "c": [5], "name": ["x", "y", "z"]}
    assert edges({"a": 3, "b": 2, "c": 5, "name": "z"}, grid) == ["a"]
    assert edges({"a": 2, "b": 1, "c": 5, "name": "x"}, grid) == []


@pytest.mark.parametrize("baseline", each())
def test_tuned_settings_come_back_from_the_file(baseline, training, tmp_path):
    grid = {name: [value] for name, value in SETTINGS[baseline].items()}
    tuned(training, tmp_path / "s.json", baseline, grid, tuning_slices=1)
    noisy = np.load(training["noisy"][0])[0]
    restored = load_baseline(tmp_path / "s.json")
    expected = BASELINES[baseline](noisy.astype(np.float32), **SETTINGS[baseline])
    np.testing.assert_array_equal(restored(noisy), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(restored))(noisy), expected)


def test_slices_are_spread_over_all_series(tmp_path):
    paths = []
    for series in range(2):
        paths.append(tmp_path / f"{series}.npy")
        np.save(paths[-1], (10 * series + np.arange(6, dtype=np.int16))[:, None, None] * np.ones((1, 2, 2), np.int16))
    chosen = [int(noisy[0, 0]) for noisy, _ in spread_slices(paths, paths, 4)]
    assert chosen == [1, 4, 11, 14]
    assert len(spread_slices(paths, paths, 99)) == 12


@pytest.mark.parametrize(
    ("baseline", "grid", "words"),
    [
        ("bm4d", {"a": [1]}, "no 'bm4d'"),
        ("gaussian", {"sigma": [1]}, "sigma"),
        ("gaussian", {"sigma_px": []}, "empty"),
        ("gaussian", {}, "sigma_px"),
    ],
)
def test_a_wrong_grid_is_explained(baseline, grid, words, training, tmp_path):
    with pytest.raises(UserError, match=words):
        tuned(training, tmp_path / "s.json", baseline, grid)
    assert not (tmp_path / "s.json").exists()


def test_a_file_without_a_tuned_baseline_is_refused(tmp_path):
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(UserError, match=r"s\.json"):
        load_baseline(tmp_path / "s.json")


@pytest.fixture
def held_out(training, tmp_path):
    """Give the training series heights, and ruin the slice of each that a split holds out."""
    infos = []
    for series, path in enumerate(training["noisy"]):
        # The slice at 0 mm is the third of the first series and the second of the other.
        z_mm = 3.0 * (np.arange(5) - 2 + series)
        infos.append(tmp_path / f"{series}.json")
        infos[-1].write_text(json.dumps({"z_mm": z_mm.tolist()}))
        volume = np.load(path)
        volume[2 - series] = -12345
        np.save(path, volume)
    return infos


def test_held_out_slices_are_not_tuned_on(training, held_out, tmp_path):
    split = {"every": 5}
    pairs = spread_slices(training["clean"], training["noisy"], 99, held_out, split)
    assert len(pairs) == 8
    assert all(noisy.min() > -12345 for noisy, _ in pairs)
    record = tuned(training, tmp_path / "g.json", tuning_slices=99, infos=held_out, split=split)
    assert record["tuning_slices"] == 8
    expected = [psnr_db(gaussian_filter(noisy.astype(np.float32), 0.8), clean, WINDOW) for noisy, clean in pairs]
    assert record["tuning_psnr_db"] == pytest.approx(np.mean(expected), abs=1e-4)


def test_a_training_series_that_is_all_held_out_is_named(training, held_out, tmp_path):
    with pytest.raises(UserError, match=r"1\.json for training"):
        tuned(training, tmp_path / "g.json", infos=held_out, split={"every": 9, "width": 6, "offset_mm": -3.0})


def test_without_its_package_a_baseline_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)  # an import fails
    with pytest.raises(UserError, match=r'bm3d is left out.*pip install "quietct\[bm3d\]"'):
        bind("bm3d", {"sigma_factor": 1.0})(with_noise(thorax(32), 40))


def test_only_what_is_optional_can_be_missing(monkeypatch):
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    assert missing_baselines(["gaussian", "bm3d", "tv"]) == ["bm3d"]
    monkeypatch.setattr(methods, "find_spec", lambda name: object())
    assert missing_baselines(["gaussian", "bm3d", "tv"]) == []


@needs_bm3d
def test_bm3d_is_the_authors_at_the_estimated_noise():
    import bm3d

    noisy = with_noise(thorax(64), 40)
    expected = bm3d.bm3d(noisy.astype(float) / 1000, 1.5 * noise_sigma(noisy) / 1000) * 1000
    np.testing.assert_allclose(bind("bm3d", {"sigma_factor": 1.5})(noisy), expected, atol=1)
