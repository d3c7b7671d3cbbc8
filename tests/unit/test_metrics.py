"""The metrics against closed forms and an independent SSIM."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import uniform_filter

from quietct.ct.volume import NO_VALUE
from quietct.errors import UserError
from quietct.evaluation.columns import MEASURES
from quietct.evaluation.metrics import bias_hu, rmse_corrected_hu, rmse_hu, ssim
from quietct.evaluation.psnr import psnr_db
from quietct.evaluation.quality import measure_quality

WINDOW = (-1000, 1000)


@pytest.fixture
def scene():
    """A smooth HU image with an edge, well inside the window."""
    rows, columns = np.mgrid[:64, :80]
    return 100.0 * np.sin(rows / 9) + np.where(columns > 40, 300.0, -300.0)


def ssim_by_hand(x, y, side=7, k1=0.01, k2=0.03):
    """Wang's formula with uniform windows and sample covariances, averaged where the window fits."""
    mean_x, mean_y = uniform_filter(x, side), uniform_filter(y, side)
    unbiased = side**2 / (side**2 - 1)
    var_x = unbiased * (uniform_filter(x * x, side) - mean_x**2)
    var_y = unbiased * (uniform_filter(y * y, side) - mean_y**2)
    cov = unbiased * (uniform_filter(x * y, side) - mean_x * mean_y)
    c1, c2 = k1**2, k2**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    border = side // 2
    return similarity[border:-border, border:-border].mean()


def test_a_constant_offset_is_rmse_bias_and_psnr(scene):
    assert rmse_hu(scene - 20, scene) == pytest.approx(20)
    assert bias_hu(scene - 20, scene) == pytest.approx(-20)
    assert psnr_db(scene - 20, scene, WINDOW) == pytest.approx(20 * np.log10(2000 / 20))


def test_white_noise_has_the_psnr_of_its_sigma():
    noise = np.random.default_rng(0).normal(0, 50, (512, 512))
    assert psnr_db(noise, np.zeros_like(noise), WINDOW) == pytest.approx(20 * np.log10(2000 / 50), abs=0.03)


def test_ssim_equals_an_independent_implementation(scene):
    noisy = scene + np.random.default_rng(1).normal(0, 60, scene.shape)
    expected = ssim_by_hand((noisy + 1000) / 2000, (scene + 1000) / 2000)
    assert 0.3 < expected < 0.97
    assert ssim(noisy, scene, WINDOW) == pytest.approx(expected, abs=1e-6)


def test_equal_images_are_perfect(scene):
    assert psnr_db(scene, scene, WINDOW) == np.inf
    assert ssim(scene, scene, WINDOW) == pytest.approx(1)
    assert rmse_hu(scene, scene) == bias_hu(scene, scene) == 0


def test_psnr_and_ssim_do_not_see_beyond_the_window_but_rmse_and_bias_do(scene):
    reference = scene.copy()
    reference[:10] = 1000
    image = reference.copy()
    image[:10] = 3000
    assert psnr_db(image, reference, WINDOW) == np.inf
    assert ssim(image, reference, WINDOW) == pytest.approx(1)
    assert rmse_hu(image, reference) == pytest.approx(2000 * np.sqrt(10 / 64))
    assert bias_hu(image, reference) == pytest.approx(2000 * 10 / 64)


def test_int16_volumes_do_not_overflow():
    low, high = np.full((8, 8), -30000, np.int16), np.full((8, 8), 30000, np.int16)
    assert rmse_hu(high, low) == bias_hu(high, low) == 60000


@pytest.fixture
def files(tmp_path, scene):
    """Write a clean volume, one that is 10, 20 and 0 HU brighter, and its slice positions."""
    clean = np.stack([scene, scene, scene]).round().astype(np.int16)
    image = clean + np.array([10, 20, 0], np.int16)[:, None, None]
    np.save(tmp_path / "clean.npy", clean)
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "info.json").write_text(json.dumps({"z_mm": [-5.0, -2.5, 0.0]}))
    return tmp_path


def test_the_table_has_a_row_a_slice_with_its_position_and_window(files):
    measure_quality(
        files / "clean.npy", files / "info.json", files / "image.npy", files / "out.tsv", "weak", "tv", "a.1", WINDOW
    )
    table = pd.read_csv(files / "out.tsv", sep="\t")
    assert list(table) == [
        "noise", "method", "series", "slice", "z_mm", "psnr_db",
        "ssim", "rmse_hu", "bias_hu", "ceiling_psnr_db", "rmse_corrected_hu",
        "psnr_lung_db", "ssim_lung", "psnr_mediastinum_db", "ssim_mediastinum", "vif", "noise_index_hu",
        "rmse_lung_hu", "bias_lung_hu", "rmse_soft_tissue_hu", "bias_soft_tissue_hu",
        "rmse_bone_hu", "bias_bone_hu", "rmse_nodule_hu", "bias_nodule_hu",
        "window_low_hu", "window_high_hu", "lung_window_low_hu", "lung_window_high_hu",
        "mediastinum_window_low_hu", "mediastinum_window_high_hu",
    ]  # fmt: skip
    assert table[["noise", "method", "series"]].drop_duplicates().to_numpy().tolist() == [["weak", "tv", "a.1"]]
    assert table["z_mm"].tolist() == [-5.0, -2.5, 0.0]
    assert table["bias_hu"].tolist() == [10, 20, 0]
    assert table["psnr_db"].tolist() == pytest.approx([20 * np.log10(200), 40, np.inf], abs=1e-3)
    assert table[["ceiling_psnr_db", "rmse_corrected_hu"]].isna().all(axis=None)
    assert (table["window_low_hu"] == -1000).all()
    assert (table["window_high_hu"] == 1000).all()


def test_volumes_of_different_shape_are_refused_by_name(files):
    np.save(files / "image.npy", np.zeros((2, 64, 80), np.int16))
    with pytest.raises(UserError, match=r"image\.npy.*clean\.npy"):
        measure_quality(
            files / "clean.npy", files / "info.json", files / "image.npy", files / "out.tsv", "n", "m", "s", WINDOW
        )
    assert not (files / "out.tsv").exists()


def test_positions_that_do_not_fit_are_refused(files):
    (files / "info.json").write_text('{"z_mm": [0]}')
    with pytest.raises(UserError, match=r"info\.json"):
        measure_quality(
            files / "clean.npy", files / "info.json", files / "image.npy", files / "out.tsv", "n", "m", "s", WINDOW
        )


def measured(folder, **changes):
    paths = [folder / name for name in ("clean.npy", "info.json", "image.npy", "out.tsv")]
    measure_quality(*paths, **{"noise": "n", "method": "m", "series": "s", "window_hu": WINDOW, **changes})
    return pd.read_csv(folder / "out.tsv", sep="\t")


def test_only_held_out_slices_are_measured_under_their_own_numbers(files):
    table = measured(files, split={"every": 3, "offset_mm": -2.5})
    assert table["slice"].tolist() == [1]
    assert table["z_mm"].tolist() == [-2.5]
    assert table["bias_hu"].tolist() == [20]


def test_a_series_without_a_held_out_slice_is_refused(files):
    with pytest.raises(UserError, match=r"none of the 3 slices of .*info\.json for testing"):
        measured(files, split={"every": 9, "offset_mm": 5.0})
    assert not (files / "out.tsv").exists()


def test_what_is_known_of_the_targets_noise_is_told_slice_by_slice(files):
    target = {"z_mm": [-5.0, -2.5, 0.0], "ceiling_psnr_db": [31.5, None, 33.25], "noise_hu": [6.0, 12.0, None]}
    (files / "info.json").write_text(json.dumps({"z_mm": [-5.0, -2.5, 0.0], "target": target}))
    table = measured(files)
    np.testing.assert_array_equal(table["ceiling_psnr_db"], [31.5, np.nan, 33.25])
    # The image is 10, 20 and 0 HU off.
    np.testing.assert_allclose(table["rmse_corrected_hu"], [8, 16, np.nan], rtol=1e-5)
    table = measured(files, split={"every": 2, "offset_mm": 0.0})
    np.testing.assert_array_equal(table["ceiling_psnr_db"], [31.5, 33.25])


@pytest.mark.parametrize("repeats", [1, 10])
def test_the_corrected_rmse_is_the_distance_to_the_noise_free_image(repeats):
    """The truth is known here: a denoiser that blurs and leaves some noise, against a mean of noisy repeats."""
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[:512, :512]
    truth = 100 * np.sin(rows / 5) + 200 * np.sin(columns / 7)
    image = uniform_filter(truth, 5) + rng.normal(0, 6, truth.shape)
    repeated = truth + rng.normal(0, 40, (repeats, *truth.shape))
    reference = repeated.mean(axis=0)
    noise_hu = 40 / np.sqrt(repeats)
    to_truth, to_reference = rmse_hu(image, truth), rmse_hu(image, reference)
    assert to_reference > 1.2 * to_truth
    assert rmse_corrected_hu(to_reference, noise_hu) == pytest.approx(to_truth, rel=0.02)


def test_an_image_no_farther_from_the_target_than_its_noise_has_no_corrected_error():
    assert rmse_corrected_hu(3.0, 5.0) == 0
    assert np.isnan(rmse_corrected_hu(3.0, None))


def test_a_slice_that_a_method_could_not_compute_has_no_measure_and_the_others_have(files, caplog):
    image = np.load(files / "image.npy")
    image[1, 5, 7] = NO_VALUE
    np.save(files / "image.npy", image)
    table = measured(files)
    assert table.loc[1, list(MEASURES)].isna().all()
    assert table["bias_hu"].tolist() == [10, pytest.approx(np.nan, nan_ok=True), 0]
    assert "1 of 3 slices have no value" in caplog.text


@pytest.mark.parametrize("bad", [np.nan, np.inf, NO_VALUE])
def test_no_measure_makes_a_number_of_what_is_none(scene, bad):
    image = scene.copy()
    image[3, 4] = bad
    values = [rmse_hu(image, scene), bias_hu(image, scene), psnr_db(image, scene, WINDOW), ssim(image, scene, WINDOW)]
    assert np.isnan(values).all()
