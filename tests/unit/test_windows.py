"""Where a scan's grey scale ends, and that a window beyond it is not measured."""

import json

import numpy as np
import pandas as pd
import pytest

from quietct.ct.clipping import GreyScale, grey_scale
from quietct.ct.phantom import phantom
from quietct.evaluation.metrics import ssim
from quietct.evaluation.psnr import psnr_db
from quietct.evaluation.quality import measure_quality
from quietct.evaluation.windows import LUNG_HU, MEDIASTINUM_HU, holds


@pytest.fixture(scope="module")
def chest():
    """Two slices of the synthetic chest without noise, int16 HU."""
    return np.stack([phantom(1).render_slice(z) for z in (-3.0, 3.0)]).round().astype(np.int16)


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        (None, (None, None)),
        ((-160, 240), (-160, 240)),
        ((-1350, 150), (None, 150)),
        ((-1024, 3071), (None, None)),
        ((-500, 1300), (-500, None)),
    ],
)
def test_the_ends_of_a_clipped_grey_scale_are_found(chest, clip, expected):
    assert grey_scale(chest if clip is None else np.clip(chest, *clip)) == expected


def test_water_with_noise_is_not_taken_for_clipped():
    water = np.random.default_rng(0).normal(0, 3, (2, 256, 256)).round().astype(np.int16)
    assert grey_scale(water) == (None, None)


@pytest.mark.parametrize(
    ("scale", "window", "expected"),
    [
        (GreyScale(), LUNG_HU, True),
        (GreyScale(-160, 240), MEDIASTINUM_HU, True),
        (GreyScale(-160, 240), LUNG_HU, False),
        (GreyScale(-160, 240), (-500, 1300), False),
        (GreyScale(None, 150), LUNG_HU, True),
        (GreyScale(None, 150), MEDIASTINUM_HU, False),
    ],
)
def test_a_window_needs_the_grey_scale_up_to_both_its_ends(scale, window, expected):
    assert holds(scale, window) == expected


def measured(folder, clean, image, window_hu=(-160, 240), **options):
    np.save(folder / "clean.npy", clean)
    np.save(folder / "image.npy", image)
    (folder / "info.json").write_text(json.dumps({"z_mm": list(range(len(clean)))}))
    paths = [folder / name for name in ("clean.npy", "info.json", "image.npy", "out.tsv")]
    measure_quality(*paths, noise="n", method="m", series="s", window_hu=window_hu, **options)
    return pd.read_csv(folder / "out.tsv", sep="\t")


def test_both_windows_are_measured_beside_the_configs_own_one(tmp_path, chest):
    noisy = chest + np.random.default_rng(1).normal(0, 20, chest.shape).round().astype(np.int16)
    table = measured(tmp_path, chest, noisy, (-1000, 1000))
    for index, row in table.iterrows():
        for names, window in (
            (("psnr_db", "ssim"), (-1000, 1000)),
            (("psnr_lung_db", "ssim_lung"), (-1350, 150)),
            (("psnr_mediastinum_db", "ssim_mediastinum"), (-160, 240)),
        ):
            expected = [measure(noisy[index], chest[index], window) for measure in (psnr_db, ssim)]
            assert row[list(names)].tolist() == pytest.approx(expected, rel=1e-5)
    ends = ["lung_window_low_hu", "lung_window_high_hu", "mediastinum_window_low_hu", "mediastinum_window_high_hu"]
    assert table[ends].drop_duplicates().to_numpy().tolist() == [[-1350, 150, -160, 240]]


def test_the_lung_window_of_pictures_clipped_at_soft_tissue_stays_empty(tmp_path, chest):
    """Noise may go beyond the pictures' scale, and a target may be resampled: the scan tells."""
    scan = np.clip(chest, -160, 240)
    np.save(tmp_path / "scan.npy", scan)
    rng = np.random.default_rng(2)
    target, noisy = (scan + rng.normal(0, 20, scan.shape).round().astype(np.int16) for _ in range(2))
    table = measured(tmp_path, target, noisy, scan=tmp_path / "scan.npy")
    assert table[["psnr_lung_db", "ssim_lung", "rmse_lung_hu", "rmse_bone_hu"]].isna().all(axis=None)
    assert table[["psnr_mediastinum_db", "ssim_mediastinum", "rmse_soft_tissue_hu"]].notna().all(axis=None)
    assert table["psnr_mediastinum_db"].tolist() == table["psnr_db"].tolist()


def test_a_constant_target_gives_gaps_and_no_crash(tmp_path):
    flat = np.zeros((1, 64, 64), np.int16)
    table = measured(tmp_path, flat, flat + np.int16(3))
    gaps = table.columns[table.isna().all()]
    assert {"vif", "noise_index_hu", "psnr_lung_db", "rmse_lung_hu", "rmse_bone_hu", "rmse_nodule_hu"} <= set(gaps)
    assert table["bias_hu"].tolist() == [3]
