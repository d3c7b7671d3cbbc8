"""Targets on a scan's slices and pixel grid: what is paired, averaged, moved and refused, and how noisy it is."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from repeats import chest, ramp_noise

from quietct.ct.averaging import mean_and_noise
from quietct.ct.matching import match_target
from quietct.ct.volume import read_info, write_info, write_volume
from quietct.errors import UserError

WINDOW = (-1000, 1000)
SIDE = 96
REPEATS = Path(__file__).parents[3] / "shared" / "data" / "phantom_fda_jpeg"


class Study:
    """Series in a folder, and `match_target` on them."""

    def __init__(self, folder):
        self.folder = folder

    def add(self, name, volume, z_mm=None, **facts):
        volume = np.asarray(volume)
        assert volume.dtype == np.int16
        z = [3.0 * k for k in range(len(volume))] if z_mm is None else list(z_mm)
        info = {
            "series_instance_uid": f"1.2.{name}",
            "spacing_mm": [0.7, 0.7],
            "z_mm": z,
            "step_mm": [3.0, 3.0, 3.0],
            "gantry_tilt_deg": 0.0,
            "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            "slice_thickness_mm": 3.0,
            "kernel": "B40f",
            "kvp": 120.0,
            "exposure_mas": 100.0,
            "sop_instance_uids": [f"1.2.{name}.{k}" for k in range(len(z))],
            "frames": None,
            "shape": list(volume.shape),
            "skipped": [],
        } | facts
        write_volume(self.folder / f"{name}.npy", volume.shape, np.ascontiguousarray(volume))
        write_info(self.folder / f"{name}.json", info)

    def run(self, series, *names):
        paths = [self.folder / "matched" / f"{series}.npy", self.folder / "targets" / f"{series}.npy"]
        match_target(
            self.folder / f"{series}.npy",
            self.folder / f"{series}.json",
            [self.folder / f"{name}.npy" for name in names],
            [self.folder / f"{name}.json" for name in names],
            paths[0],
            paths[0].with_suffix(".json"),
            paths[1],
            series=series,
            names=names,
            window_hu=WINDOW,
        )
        return paths

    def match(self, series, *names):
        matched, target = self.run(series, *names)
        return np.load(matched), np.load(target), read_info(matched.with_suffix(".json"))

    def nothing_written(self):
        return not [path for name in ("matched", "targets") for path in self.folder.glob(f"{name}/*")]


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def scans(rng, shift=(0.0, 0.0), sd_hu=12.0, z_mm=(0, 3, 6, 9)):
    """A volume of the chest (int16): the same object, its noise from `rng`."""
    return np.stack(
        [np.rint(chest(shift, SIDE, z) + ramp_noise(rng, sd_hu, SIDE)) for z in z_mm],
    ).astype(np.int16)


def test_the_mean_of_repeats_is_the_mean_and_the_scan_stays_as_it_is(study):
    rng = np.random.default_rng(0)
    volumes = [scans(rng) for _ in range(4)]
    for name, volume in zip(("low", "a", "b", "c"), volumes, strict=True):
        study.add(name, volume)
    matched, target, info = study.match("low", "a", "b", "c")
    np.testing.assert_array_equal(matched, volumes[0])
    np.testing.assert_array_equal(target, np.rint(np.mean(volumes[1:], axis=0)))
    assert target.dtype == matched.dtype == np.int16
    assert info["target"]["series"] == ["a", "b", "c"]
    assert not np.any(info["target"]["shift_px"])


def test_a_target_that_does_not_move_stays_bit_identical(study):
    rng = np.random.default_rng(1)
    truth = scans(rng, sd_hu=0)
    study.add("low", scans(rng, sd_hu=24), exposure_mas=25.0)
    study.add("truth", truth, exposure_mas=None)
    _, target, info = study.match("low", "truth")
    np.testing.assert_array_equal(target, truth)
    assert info["target"]["exposure_mas"] == [None]
    assert info["target"]["noise_hu"] == info["target"]["ceiling_psnr_db"] == [None] * 4


def test_the_order_of_the_targets_changes_nothing(study):
    rng = np.random.default_rng(2)
    for name, shift in {"low": (0, 0), "a": (0.4, 0.1), "b": (-0.3, 0.2), "c": (0, 0)}.items():
        study.add(name, scans(rng, shift))
    first, second = study.match("low", "a", "b", "c"), study.match("low", "c", "a", "b")
    np.testing.assert_array_equal(first[1], second[1])
    assert first[2] == second[2]


def test_shifted_targets_are_registered_back_slice_by_slice(study):
    rng = np.random.default_rng(3)
    heights, angles = [3.0 * k for k in range(6)], [0.9 * k for k in range(6)]
    turning = np.array([(0.5 * np.cos(a), 0.5 * np.sin(a)) for a in angles])
    still = np.stack([chest((0, 0), SIDE, z) for z in heights])
    moved = np.stack([chest(shift, SIDE, z) for z, shift in zip(heights, turning, strict=True)])
    noise = [ramp_noise(rng, 8, SIDE) for _ in heights]
    study.add("low", np.rint(still + [ramp_noise(rng, 16, SIDE) for _ in heights]).astype(np.int16))
    study.add("high", np.rint(moved + noise).astype(np.int16))
    matched, target, info = study.match("low", "high")
    np.testing.assert_array_equal(matched, np.load(study.folder / "low.npy"))
    np.testing.assert_allclose(info["target"]["shift_px"], -turning[None], atol=0.04)
    assert np.max(info["target"]["shift_sd_px"]) < 0.05
    error = (target - still)[:, 5:-5, 5:-5]
    assert (moved + noise - still)[:, 5:-5, 5:-5].std() > 30  # edges that do not meet
    assert error.std() == pytest.approx(8, rel=0.1)  # the noise alone, no weaker than it was


def test_slices_are_paired_by_height_and_the_rest_is_left_out_and_listed(study, caplog):
    rng = np.random.default_rng(4)
    z = np.array([3.0 * k for k in range(8)])
    study.add("low", scans(rng, z_mm=z), z)
    there = {"a": [2, 3, 4, 5, 6, 7, 8], "b": [0, 1, 2, 3, 5, 6]}
    for name, indices in there.items():
        study.add(name, scans(rng, z_mm=3.0 * np.array(indices)), 3.0 * np.array(indices) + 0.2)
    with caplog.at_level("INFO"):
        matched, target, info = study.match("low", "a", "b")
    common = [2, 3, 5, 6]
    np.testing.assert_array_equal(matched, np.load(study.folder / "low.npy")[common])
    a, b = (np.load(study.folder / f"{name}.npy")[[there[name].index(k) for k in common]] for name in "ab")
    np.testing.assert_array_equal(target, np.rint(np.mean([a, b], axis=0)))
    assert info["z_mm"] == z[common].tolist()
    assert info["sop_instance_uids"] == [f"1.2.low.{k}" for k in common]
    assert info["shape"] == [4, SIDE, SIDE]
    assert info["step_mm"] == [3.0, 3.0, 6.0]
    assert info["frames"] is None
    assert info["target"]["z_mm"] == pytest.approx(z[common] + 0.2)
    assert info["target"]["unmatched_z_mm"] == z[[0, 1, 4, 7]].tolist()
    assert "4 of 8 slices have a partner in a, b" in caplog.text
    assert "left out, as no target lies at 0, 3, 12, 21 mm" in caplog.text


def test_frames_are_cut_with_the_slices(study):
    rng = np.random.default_rng(5)
    study.add("low", scans(rng), frames=[4, 3, 2, 1])
    study.add("high", scans(rng)[1:], [3.0, 6.0, 9.0])
    assert study.match("low", "high")[2]["frames"] == [3, 2, 1]


def test_the_spread_of_repeats_tells_noise_and_ceiling(study):
    rng = np.random.default_rng(6)
    truth = np.stack([chest((0, 0), SIDE, z) for z in (0, 3, 6, 9)])
    study.add("low", scans(rng, sd_hu=30))
    exposures = {"a": 10.0, "b": 20.0, "c": 20.0}
    for name, sd_hu in exposures.items():
        study.add(name, scans(rng, sd_hu=sd_hu), exposure_mas=100.0 * sd_hu)
    _, target, info = study.match("low", *exposures)
    assert info["target"]["noise_hu"] == pytest.approx([(10**2 + 20**2 + 20**2) ** 0.5 / 3] * 4, rel=0.06)
    error = (np.clip(target, *WINDOW) - np.clip(truth, *WINDOW)) / 2000
    direct = -10 * np.log10(np.mean(error**2, axis=(1, 2)))
    assert info["target"]["ceiling_psnr_db"] == pytest.approx(direct, abs=0.8)  # half the slice is air at the end


def test_inside_the_window_the_ceiling_is_that_of_the_truth():
    rng = np.random.default_rng(7)
    truth = chest((0, 0), 256) / 2
    images = [(truth + ramp_noise(rng, 20, 256)).astype(np.float32) for _ in range(4)]
    mean, variance, windowed_variance = mean_and_noise(images, WINDOW)
    np.testing.assert_allclose(mean, np.mean(images, axis=0), atol=1e-3)
    assert variance == pytest.approx(np.mean((mean - truth) ** 2), rel=0.05)
    assert windowed_variance == pytest.approx(variance / 2000**2, rel=0.01)
    assert variance == pytest.approx(np.mean(np.var(images, axis=0, ddof=1)) / 4, rel=1e-3)


def test_a_single_target_of_equal_exposure_has_the_ceiling_of_the_input_and_3_db(study):
    rng = np.random.default_rng(8)
    study.add("low", scans(rng, sd_hu=20), exposure_mas=100.0)
    study.add("high", scans(rng, sd_hu=20), exposure_mas=100.9)
    matched, target, info = study.match("low", "high")
    between = (np.clip(matched, *WINDOW).astype(float) - np.clip(target, *WINDOW)) / 2000
    psnr = -10 * np.log10(np.mean(between**2, axis=(1, 2)))
    assert info["target"]["ceiling_psnr_db"] == pytest.approx(psnr + 3.0103, abs=0.001)
    assert info["target"]["noise_hu"] == pytest.approx([20] * 4, rel=0.1)


@pytest.mark.parametrize("exposure", [102.0, 200.0, None, float("inf")])
def test_a_single_target_of_another_exposure_has_no_known_noise(study, exposure):
    rng = np.random.default_rng(9)
    study.add("low", scans(rng))
    study.add("high", scans(rng), exposure_mas=exposure)
    target = study.match("low", "high")[2]["target"]
    assert target["noise_hu"] == target["ceiling_psnr_db"] == [None] * 4
    assert target["exposure_mas"] == [exposure if exposure in (102.0, 200.0) else None]


def test_targets_without_any_noise_have_no_ceiling_and_the_facts_are_strict_json(study):
    rng = np.random.default_rng(10)
    truth = scans(rng, sd_hu=0)
    truth[1] = -1000  # nothing to tell a shift by
    study.add("low", truth, exposure_mas=25.0)
    for name in ("a", "b"):
        study.add(name, truth, exposure_mas=float("inf"))
    info = study.match("low", "a", "b")[2]
    assert info["target"]["noise_hu"] == [0.0] * 4
    assert info["target"]["ceiling_psnr_db"] == [None] * 4
    assert info["target"]["shift_sd_px"][0][1] is None
    json.dumps(info, allow_nan=False)


def refused(study, series, names, sentence):
    with pytest.raises(UserError, match=sentence):
        study.match(series, *names)
    assert study.nothing_written()


def test_another_kernel_is_refused_in_a_sentence(study):
    rng = np.random.default_rng(11)
    study.add("low", scans(rng))
    study.add("a", scans(rng))
    study.add("sharp", scans(rng), kernel="B60f")
    refused(study, "low", ["a", "sharp"], "low and its target sharp differ in kernel: B40f and B60f")


def test_targets_without_a_common_height_are_refused(study):
    rng = np.random.default_rng(12)
    z = np.arange(8) * 3.0
    study.add("low", scans(rng, z_mm=z), z)
    study.add("top", scans(rng, z_mm=z[4:]), z[4:])
    study.add("bottom", scans(rng, z_mm=z[:4]), z[:4])
    refused(study, "low", ["top", "bottom"], "low and its targets bottom, top have no height that is common")


def test_a_series_without_targets_is_refused(study):
    study.add("low", scans(np.random.default_rng(13)))
    refused(study, "low", [], "low has no target")


@pytest.mark.parametrize("names", [["copy"], ["high", "again"]])
def test_one_scan_under_two_names_is_refused(study, names):
    rng = np.random.default_rng(14)
    low, high = scans(rng), scans(rng)
    uids, high_uids = ([f"1.9.{n}.{k}" for k in range(4)] for n in range(2))
    study.add("low", low, sop_instance_uids=uids)
    study.add("copy", low, sop_instance_uids=uids)
    study.add("high", high, sop_instance_uids=high_uids)
    study.add("again", high, sop_instance_uids=high_uids)
    refused(study, "low", names, "(low and copy|again and high) are the same scan")


def test_frames_of_one_file_are_different_slices(study):
    rng = np.random.default_rng(15)
    study.add("low", scans(rng), sop_instance_uids=["1.9"] * 4, frames=[1, 2, 3, 4])
    study.add("high", scans(rng), sop_instance_uids=["1.9"] * 4, frames=[5, 6, 7, 8])
    assert len(study.match("low", "high")[0]) == 4


def test_another_object_is_refused(study):
    rng = np.random.default_rng(16)
    study.add("low", scans(rng))
    study.add("other", scans(rng)[:, :, ::-1].transpose(0, 2, 1))
    refused(study, "low", ["other"], "other does not show what series low shows: .* is 0")


def test_a_target_far_beside_is_refused(study):
    rng = np.random.default_rng(17)
    study.add("low", scans(rng))
    study.add("beside", scans(rng, shift=(0, 19)))
    refused(study, "low", ["beside"], "beside lies 1[89] pixels beside series low; 16 can be mended")


def test_targets_that_look_little_like_the_scan_are_warned_of(study, caplog):
    rng = np.random.default_rng(19)
    study.add("low", scans(rng, sd_hu=450))
    study.add("high", scans(rng, sd_hu=450))
    study.match("low", "high")
    assert "low and high: their slices correlate by 0." in caplog.text


def test_slices_that_show_nothing_are_taken_as_they_are_or_move_with_the_others(study, caplog):
    rng = np.random.default_rng(20)
    low, high = scans(rng), scans(rng, shift=(0.4, 0.1))
    low[3] = high[3] = -1000
    study.add("low", low)
    study.add("high", high)
    shift = study.match("low", "high")[2]["target"]["shift_px"][0]
    assert shift[3] == shift[2] == pytest.approx((-0.4, -0.1), abs=0.03)
    assert "1 of 4 slices show too little" in caplog.text
    study.add("air", np.full_like(low, -1000))
    study.add("more air", np.full_like(low, -990))
    assert (study.match("air", "more air")[1] == -990).all()
    assert "nothing tells how more air lies on it" in caplog.text


def test_memory_does_not_grow_with_the_slices_or_the_targets(study):
    rng = np.random.default_rng(18)
    one = scans(rng, z_mm=[0])
    peaks = []
    for count, targets in ((2, 2), (40, 2), (2, 8)):
        names = [f"t{count}x{targets}n{k}" for k in range(targets)]
        for name in ("low", *names):
            volume = np.repeat(one, count, axis=0) + rng.integers(-20, 20, (count, SIDE, SIDE), dtype=np.int16)
            study.add(name, volume)
        tracemalloc.start()
        study.run("low", *names)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    slice_bytes = 4 * SIDE**2
    assert peaks[1] < peaks[0] + 6 * slice_bytes  # 38 slices more, each of 3 series
    assert peaks[2] < peaks[0] + 3 * slice_bytes


@pytest.mark.skipif(not REPEATS.is_dir(), reason=f"needs the real repeats in {REPEATS}")
def test_a_real_repeat_becomes_a_target_on_the_grid_of_the_other(study):
    for repeat, first in ((1, 60), (2, 62)):
        folder = REPEATS / f"repeat_{repeat}"
        grey = [
            np.asarray(Image.open(folder / f"IMG-0001-{k:05}.jpg").convert("L"), float) for k in range(first, first + 6)
        ]
        volume = np.rint(np.array(grey) / 255 * 400 - 160).astype(np.int16)
        study.add(f"repeat{repeat}", volume, 2.5 * np.arange(first, first + 6), slice_thickness_mm=5.0)
    matched, target, info = study.match("repeat1", "repeat2")
    assert info["z_mm"] == [155.0, 157.5, 160.0, 162.5]
    assert np.hypot(*np.array(info["target"]["shift_px"][0]).T) == pytest.approx(0.5, abs=0.08)
    body = (matched > -100) & (target > -100) & (np.arange(512) < 395)[:, None]
    unregistered = np.load(study.folder / "repeat2.npy")[:4]
    before = (matched - unregistered)[body].astype(float).std()
    after = (matched - target)[body].astype(float).std()
    assert before > 16  # measured: 17.8 HU
    assert after < 14.5  # measured: 13.0 HU
